"""What transformers' tokenizer classes have of their own, beside what the files say.

GemmaTokenizer also has its own steps: transformers 5 takes the class's normalizer and the file's
post-processor, transformers 4 the file's and the class's, so both must say the same.
"""

from export.prompts import clip_tokenizer
from export.source.configuration import show

END = "<|endoftext|>"
QWEN = {"eos_token": END, "pad_token": END, "unk_token": END}
GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
         "mask_token": "<mask>"}
TOKENS = {"Qwen2Tokenizer": QWEN, "Qwen3Tokenizer": QWEN, "GemmaTokenizer": GEMMA,
          "CLIPTokenizer": clip_tokenizer.TOKENS}
GEMMA_STEP = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}


def class_of(config):
    """A key of TOKENS, whose name may go on, or None; where nothing is said, Qwen's."""
    name = config.get("tokenizer_class", "Qwen2Tokenizer")
    return next((known for known in TOKENS if isinstance(name, str) and name.startswith(known)),
                None)


def is_gemma(config):
    return class_of(config) == "GemmaTokenizer"


def is_clip(config):
    return class_of(config) == "CLIPTokenizer"


def add_defaults(named, config, known):
    """The named tokens with those that the class has of its own, where the model knows them."""
    own = TOKENS.get(class_of(config), {})
    return {key: text for key, text in own.items() if text in known} | named


def check_class(tokenizer, config, named, around):
    """Refuses what makes the ids depend on the version of transformers.

    around: tokens (before, after) each text by the file's post-processor.
    """
    if not is_gemma(config):
        return
    step = tokenizer.get("normalizer", None)
    if step != GEMMA_STEP:
        tokenizer.fail(f"normalizer is {show(step)}, expected that of GemmaTokenizer, "
                       f"{GEMMA_STEP}")
    ends = [("add_bos_token", True, "bos_token"), ("add_eos_token", False, "eos_token")]
    for (key, usual, name), there in zip(ends, around, strict=True):
        wanted = [named.get(name)] if config.flag(key, usual) else []
        if there != wanted:
            config.fail(f"{key} asks for {wanted}, and the post_processor of "
                        f"{tokenizer.path.name} adds {there}; make both say the same")
