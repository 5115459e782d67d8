"""Makes a full-precision text-to-image model ternary or binary, from prompts alone.

    python -m export.ternarize --model TEACHER --out STUDENT --bits ternary --prompts FILE
"""
