"""Text encoders made ternary or binary, from prompts alone: what --component text_encoder runs."""
