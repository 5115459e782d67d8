"""What of a tokenizer.json the page's tokenizer computes as the tokenizers library does.

A step (normalizer, pre_tokenizer, post_processor) or a setting that it would skip, or stumble over
in the browser, stops the build here.
"""

from export.prompts.unigram import is_unigram
from export.source.configuration import is_text, show

STEPS = {  # -> where a Sequence holds its parts, and the kinds
    "normalizer": ("normalizers", (
        "BertNormalizer", "Precompiled", "Sequence", "Replace", "NFC", "NFD", "NFKC", "NFKD",
        "Strip", "StripAccents", "Lowercase", "Prepend")),
    "pre_tokenizer": ("pretokenizers", (
        "BertPreTokenizer", "Sequence", "Whitespace", "WhitespaceSplit", "Metaspace", "ByteLevel",
        "Split", "Punctuation", "Digits", "Replace", "FixedLength")),
    "post_processor": ("processors", (
        "TemplateProcessing", "ByteLevel", "BertProcessing", "RobertaProcessing", "Sequence")),
}
BEHAVIORS = ("Isolated", "Removed")  # of a Split
SWITCHES = ("add_prefix_space", "trim_offsets", "use_regex", "invert", "individual_digits",
            "clean_text", "handle_chinese_chars", "strip_accents", "lowercase", "strip_left",
            "strip_right", "fuse_unk", "byte_fallback", "ignore_merges")
TEXTS = ("unk_token", "continuing_subword_prefix", "end_of_word_suffix", "content", "prepend",
         "replacement", "prepend_scheme")
MODEL_KEYS = ("type", *SWITCHES[-3:], *TEXTS[:3])


def read_steps(tokenizer, ids):
    """name -> step, as the page gets them; ids: token -> id. Raises ExportError."""
    steps = {key: tokenizer.get(key, None) for key in STEPS}
    for key, step in steps.items():
        if step is not None and not (key == "pre_tokenizer" and is_idle(step, steps["normalizer"])):
            check_step(tokenizer, key, step, ids)
        else:
            steps[key] = None
    return steps


def is_idle(split, normalizer):
    """Whether a Split looks for what the normalizer leaves nowhere, as Gemma's does."""
    steps = [step if isinstance(step, dict) else {} for step in (split, normalizer)]
    patterns = [step.get("pattern") for step in steps]
    if [step.get("type") for step in steps] != ["Split", "Replace"] or split.get("invert"):
        return False
    text = patterns[0].get("String") if isinstance(patterns[0], dict) else None
    content = normalizer.get("content")
    return (is_text(text) and text != "" and patterns == [{"String": text}] * 2
            and is_text(content) and text not in content and len(text) == 1)


def read_model(tokenizer):
    """The settings of the model, without its vocabulary and merges."""
    model = tokenizer.get("model")
    if model.get("type", "BPE") != "BPE":
        tokenizer.fail(f"model.type is {show(model['type'])}, expected a BPE tokenizer")
    if model.get("dropout"):
        tokenizer.fail(f"model.dropout is {show(model['dropout'])}, expected null: with it the "
                       "same prompt has other tokens each time")
    check_settings(tokenizer, "model", model)
    return {key: model[key] for key in MODEL_KEYS if key in model}


def check_step(tokenizer, key, step, ids):
    parts, kinds = STEPS[key]
    kind = step.get("type") if isinstance(step, dict) else None
    if kind not in kinds:
        tokenizer.fail(f"{key} is {show(step)}, which the page's tokenizer does not know")
    check_settings(tokenizer, key, step)
    if kind == "Sequence":
        if not isinstance(step.get(parts), list):
            tokenizer.fail(f"{key} is {show(step)}, expected a list as its {parts}")
        for part in step[parts]:
            check_step(tokenizer, key, part, ids)
    if kind in ("Split", "Replace", "Punctuation"):
        check_pattern(tokenizer, key, kind, step)
    if kind == "FixedLength" and (type(step.get("length")) is not int or step["length"] < 1):
        tokenizer.fail(f"{key} is {show(step)}, expected a whole number as its length")
    if kind == "Precompiled" and not is_unigram(tokenizer):
        tokenizer.fail(f"{key} is {show(step)}, which the page's tokenizer knows only beside a "
                       "Unigram model")
    if key == "post_processor":
        check_added_by(tokenizer, kind, step, ids)


def check_settings(tokenizer, key, step):
    for name in SWITCHES:
        if not isinstance(step.get(name), bool | None):
            tokenizer.fail(f"{key}.{name} is {show(step[name])}, expected true or false")
    for name in TEXTS:
        if not isinstance(step.get(name), str | None):
            tokenizer.fail(f"{key}.{name} is {show(step[name])}, expected text")


def check_pattern(tokenizer, key, kind, step):
    pattern = step.get("pattern")
    is_pattern = isinstance(pattern, dict) and len(pattern) == 1
    if kind != "Punctuation" and not (
        is_pattern and isinstance(pattern.get("Regex", pattern.get("String")), str)
    ):
        tokenizer.fail(f"{key}: the pattern of {kind} is {show(pattern)}, expected a Regex or a "
                       "String")
    behavior = step.get("behavior", "Isolated")
    if behavior not in BEHAVIORS:
        tokenizer.fail(f"{key}: {kind} has the behavior {show(behavior)}, and the page's "
                       f"tokenizer knows only {' and '.join(BEHAVIORS)}")


def check_added_by(tokenizer, kind, step, ids):
    """Tokens that the post-processor adds must be those of the vocabulary, by text and by id."""
    pairs = []
    if kind == "TemplateProcessing":
        pieces, table = step.get("single"), step.get("special_tokens", {})
        if not isinstance(pieces, list) or not isinstance(table, dict):
            tokenizer.fail(f"post_processor is {show(step)}, expected single and special_tokens")
        for piece in pieces:
            added, sequence = (piece.get(part) if isinstance(piece, dict) else None
                               for part in ("SpecialToken", "Sequence"))
            if isinstance(added, dict):
                said = table.get(added["id"]) if isinstance(added.get("id"), str) else None
                known = said.get("ids") if isinstance(said, dict) else None
                pairs.append([added.get("id"), known])
            elif not isinstance(sequence, dict) or sequence.get("id") != "A":
                tokenizer.fail(f"post_processor has the piece {show(piece)}, expected the prompt "
                               "or a special token")
    elif kind in ("BertProcessing", "RobertaProcessing"):
        for pair in (step.get("cls"), step.get("sep")):
            is_pair = isinstance(pair, list) and len(pair) == 2
            pairs.append([pair[0], [pair[1]]] if is_pair else [pair, None])
    for text, known in pairs:
        if not isinstance(text, str) or text not in ids or known != [ids[text]]:
            tokenizer.fail(f"post_processor adds {show(text)} as {show(known)}, expected a token "
                           "and its id")


def tokens_around(step):
    """[tokens before, tokens after] each text, as a post-processor that was checked adds them."""
    kind = step["type"] if step else None
    if kind == "Sequence":
        before, after = [], []
        for part in step["processors"]:
            first, last = tokens_around(part)
            before, after = first + before, after + last
        return [before, after]
    if kind in ("BertProcessing", "RobertaProcessing"):
        return [[step["cls"][0]], [step["sep"][0]]]
    if kind != "TemplateProcessing":
        return [[], []]
    sides, side = [[], []], 0
    for piece in step["single"]:
        if "SpecialToken" in piece:
            sides[side].append(piece["SpecialToken"]["id"])
        else:
            side = 1
    return sides
