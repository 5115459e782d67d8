"""CLIP's tokenizer from vocab.json and merges.txt: what transformers' CLIPTokenizer makes of them.

The class has steps of its own, which it also takes where there is a tokenizer.json.
"""

from export.errors import ExportError
from export.prompts.added_tokens import read_special
from export.source.configuration import read_json, show
from export.source.standins import refuse_standin

FILES = VOCABULARY, MERGES = "vocab.json", "merges.txt"
START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
SPECIAL = r"<\|startoftext\|>|<\|endoftext\|>|"
WORDS = SPECIAL + r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
    {"type": "Lowercase"}]}
PRE_TOKENIZER = {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": True},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}


def make_tokenizer(folder, config):
    """The values of tokenizer.json, where a folder has none; config: tokenizer_config.json.

    Raises ExportError where it is not CLIP's.
    """
    config.only("do_lower_case", (True,), True)
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
        "model": {"type": "BPE", "unk_token": named["unk_token"], "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": False, "vocab": vocabulary, "merges": read_merges(folder)},
    }


def read_merges(folder):
    """The lines of merges.txt, "left right" each, without the first, which tells its version."""
    path = folder / MERGES
    refuse_standin(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read ({error}); download the file again") from None
    merges = [line.rstrip("\r") for line in lines if line and not line.startswith("#version")]
    odd = next((line for line in merges if len(line.split(" ")) != 2), None)
    if odd is not None:
        raise ExportError(f"{path}: has the line {show(odd)}, expected two tokens with a blank "
                          "between them")
    return merges


def check_steps(tokenizer, named, around):
    """Refuses a tokenizer.json with other steps than the class's, which transformers takes.

    named: tokens by their attributes; around: those that the file puts (before, after) each text.
    """
    for key, own in (("normalizer", NORMALIZER), ("pre_tokenizer", PRE_TOKENIZER)):
        step = tokenizer.get(key, None)
        if words_of(step) != words_of(own):
            tokenizer.fail(f"{key} is {show(step)}, expected that of CLIPTokenizer, {own}")
    wanted = [[named["bos_token"]], [named["eos_token"]]]
    if around != wanted:
        tokenizer.fail(f"post_processor adds {around}, expected {wanted} as CLIPTokenizer does")


def words_of(step):
    """A step without what does not change the ids of a text.

    Special tokens are found before words are; older files leave them out of the pattern.
    """
    if isinstance(step, list):
        return [words_of(part) for part in step]
    if isinstance(step, str):
        return step.replace(SPECIAL, "")
    if not isinstance(step, dict):
        return step
    usual = {"use_regex": True} if step.get("type") == "ByteLevel" else {}
    return {key: words_of(value) for key, value in (usual | step).items() if key != "trim_offsets"}
