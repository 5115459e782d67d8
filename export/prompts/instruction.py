"""The instruction that stands before a prompt, and what of its tokens every prompt shares.

It is told to the text encoder, not to the picture: of the encoder's rows those of the first token,
of the instruction's last one and of the prompt go on, as diffusers' SanaPipeline selects them.
"""

from dataclasses import dataclass

from export.errors import ExportError

# SanaPipeline's and SanaSprintPipeline's own, word for word: other words are other pictures.
COMPLEX_HUMAN_INSTRUCTION = (
    "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions "
    "suitable for image generation. Evaluate the level of detail in the user prompt:",
    "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, "
    "and spatial relationships to create vivid and concrete scenes.",
    "- If the prompt is already detailed, refine and enhance the existing details slightly without "
    "overcomplicating.",
    "Here are examples of how to transform or refine prompts:",
    "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round "
    "shape, sleeping peacefully on a warm sunny windowsill, surrounded by pots of blooming red "
    "flowers.",
    "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, "
    "featuring glowing street lamps, a diverse crowd of people in colorful clothing, and a "
    "double-decker bus passing by towering glass skyscrapers.",
    "Please generate only the enhanced description for the prompt below and avoid including any "
    "additional commentary or evaluations:",
    "User Prompt: ",
)


@dataclass(frozen=True)
class Instruction:
    """text before the prompt; tokens: its own, with those around any text; prefix: how many of the

    first ids no prompt changes.
    """

    text: str
    tokens: int
    prefix: int

    def length(self, rows):
        """Ids of a text of which `rows` of the encoder's rows go on at most."""
        return self.tokens + rows - 2

    def keep(self, rows):
        """These rows as runs, [first, count] each: the first one and the last rows - 1."""
        last = [[self.tokens - 1, rows - 1]] if rows > 1 else []
        return [[0, 1], *last]

    def manifest(self, rows):
        return {"text": self.text, "length": self.length(rows), "keep": self.keep(rows),
                "prefix": min(self.prefix, self.length(rows))}


def measure_instruction(tokenizer, lines):
    """The Instruction of these lines for an export.prompts.tokenizer.Tokenizer; None of none.

    Raises ExportError where its tokens cannot be counted here, or are too few for that selection.
    """
    if not lines:
        return None
    if tokenizer.encoder is None:
        raise ExportError(
            f"{tokenizer.folder / 'tokenizer.json'}: an instruction stands before prompts, and its "
            "tokens are counted only where all merges follow from the vocabulary and a Replace of "
            "texts is the one step before them, as Gemma's; write null for the instruction"
        )
    text = "\n".join(lines)
    ids, prefix = tokenizer.encoder.encode(text)
    if len(ids) < 2:
        raise ExportError(
            f"{tokenizer.folder / 'tokenizer.json'}: the instruction {text!r} has {len(ids)} "
            "tokens, expected 2 or more; write null for none"
        )
    return Instruction(text, len(ids), prefix)
