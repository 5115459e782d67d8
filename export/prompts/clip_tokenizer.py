"""CLIP's tokenizer: what transformers' CLIPTokenizer makes of vocab.json and merges.txt.

The class has steps of its own, which transformers 5 also takes where there is a tokenizer.json, and
transformers 4 those of the file: so the file's must be the same.
"""

from export.errors import ExportError
from export.prompts.added_tokens import read_special
from export.source.configuration import is_text, read_json, show
from export.source.standins import refuse_standin

FILES = VOCABULARY, MERGES = "vocab.json", "merges.txt"
START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
MODEL = {"unk_token": END, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
         "fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
SPECIAL = r"<\|startoftext\|>|<\|endoftext\|>|"
ENDINGS = "'s|'t|'re|'ve|'m|'ll|'d|"
NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
    {"type": "Lowercase"}]}
PRE_TOKENIZER = {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "behavior": "Removed", "invert": True, "pattern": {
        "Regex": SPECIAL + ENDINGS + r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"}},
    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}


def words(pattern):
    """A step that splits a text into what the pattern finds."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True}


# The same for JavaScript, where \s finds other blanks, a Σ at the end of a word becomes another
# letter than elsewhere, and the words of ByteLevel are split at blanks of \s.
SITE = {
    "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": r"\p{White_Space}+"}, "content": " "},
        {"type": "Replace", "pattern": {"String": "Σ"}, "content": "σ"},
        {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        words(SPECIAL + ENDINGS + r"\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+"),
        words(ENDINGS + r"\p{L}+|\p{N}+|[^\p{L}\p{N}]+"),
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}]},
}


def make_tokenizer(folder, config):
    """The values of tokenizer.json, where a folder has none; config: tokenizer_config.json."""
    vocabulary = read_json(folder / VOCABULARY)
    named = TOKENS | {key: text for key, text in read_special(folder, config)[0].items() if text}
    for key in TOKENS:
        if named[key] not in vocabulary:
            config.fail(f"{key} is {show(named[key])}, expected a token of {VOCABULARY}")
    start, end = ([named[key], vocabulary[named[key]]] for key in ("bos_token", "eos_token"))
    return {
        "normalizer": NORMALIZER, "pre_tokenizer": PRE_TOKENIZER,
        "post_processor": {"type": "RobertaProcessing", "cls": start, "sep": end,
                           "trim_offsets": False, "add_prefix_space": False},
        "model": MODEL | {"type": "BPE", "unk_token": named["unk_token"], "vocab": vocabulary,
                          "merges": read_merges(folder / MERGES)},
    }


def read_merges(path):
    """The lines of merges.txt, "left right" each, without the one that tells its version."""
    refuse_standin(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read ({error}); download the file again") from None
    merges = [line for line in lines if line and not line.startswith("#version")]
    odd = next((line for line in merges if len(line.split(" ")) != 2), None)
    if odd is not None:
        raise ExportError(f"{path}: has the line {show(odd)}, expected two tokens with a blank "
                          "between them")
    return merges


def own_steps(tokenizer, config, named, around):
    """The class's normalizer and pre_tokenizer as the site gets them.

    Raises ExportError where the file has other ones. named: tokens by their attributes; around:
    those that the file puts (before, after) each text.
    """
    config.only("do_lower_case", (True,), True)
    for key, own in (("normalizer", NORMALIZER), ("pre_tokenizer", PRE_TOKENIZER)):
        step = tokenizer.get(key, None)
        if plain(step) != plain(own):
            tokenizer.fail(f"{key} is {show(step)}, expected that of CLIPTokenizer, {own}")
    model = tokenizer.get("model")
    for key, value in (MODEL | {"unk_token": named.get("unk_token")}).items():
        if (model.get(key) or type(value)()) != value:
            tokenizer.fail(f"model.{key} is {show(model.get(key))}, expected {value!r} as "
                           "CLIPTokenizer has it")
    wanted = [[named.get("bos_token")], [named.get("eos_token")]]
    if around != wanted:
        tokenizer.fail(f"post_processor adds {around} around a text, expected {wanted} as "
                       "CLIPTokenizer does")
    return SITE


def plain(step):
    """A step without what changes no ids, its defaults told.

    Older files leave the special tokens, which are found before words are, out of the pattern.
    """
    if isinstance(step, list):
        return [plain(part) for part in step]
    if is_text(step):
        return step.removeprefix(SPECIAL)
    if not isinstance(step, dict):
        return step
    usual = {"use_regex": True} if step.get("type") == "ByteLevel" else {}
    return {key: plain(value) for key, value in (usual | step).items() if key != "trim_offsets"}
