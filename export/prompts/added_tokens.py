"""The tokens beside the vocabulary, and which of them pad, as transformers puts them together.

Tokens come from tokenizer.json, from tokenizer_config.json (added_tokens_decoder, the named ones
such as eos_token, extra_special_tokens) and, where that has no added_tokens_decoder, from the older
added_tokens.json and special_tokens_map.json. A token of the vocabulary keeps its id there; the
others get the ids that follow, whatever the files say, as the tokenizers library numbers them.
"""

from export.source.configuration import Configuration, is_text, is_whole, show

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
EXTRA = "extra_special_tokens"
OLD_EXTRA = "additional_special_tokens"
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_special(folder, config):
    """({name: token text or None}, [text of further special tokens]) as the files say.

    Names are those of the attributes (NAMED and a model's own, like image_token) that are set.
    """
    values = read_named(folder, config)
    named, extra = {}, values.get(EXTRA) or values.get(OLD_EXTRA) or []
    for key, value in values.items():
        if key in NAMED or (key.endswith("_token") and isinstance(value, str | dict)):
            named[key] = text_of(config, key, value)
    if isinstance(extra, dict):
        named |= {key: text_of(config, f"{EXTRA}.{key}", value) for key, value in extra.items()}
        extra = []
    if not isinstance(extra, list):
        config.fail(f"{EXTRA} is {show(extra)}, expected a list of tokens")
    return named, [text_of(config, EXTRA, value) for value in extra]


def read_named(folder, config):
    """The values of both files that tell special tokens, by their keys."""
    values = dict(config.values)
    if "added_tokens_decoder" in values:
        return values
    old = Configuration.read_optional(folder / "special_tokens_map.json")
    return {OLD_EXTRA: old.values.get(OLD_EXTRA)} | values | {
        key: value for key, value in old.values.items() if key != OLD_EXTRA}


def read_flags(folder, config):
    """{text: flags} of named tokens; of several with one text the last one's count."""
    values = read_named(folder, config)
    told = {text_of(config, key, values.get(key)): values.get(key) for key in NAMED}
    return {text: {flag: token[flag] for flag in FLAGS if flag in token}
            for text, token in told.items()
            if isinstance(token, dict) and check_token(config, token)}


def text_of(config, key, value):
    """A token is a string, or an object with its string under `content`; None is none."""
    text = value.get("content") if isinstance(value, dict) else value
    if value is None or (is_text(text) and text):
        return text
    return config.fail(f"{key} is {show(value)}, expected a token")


def read_added(folder, tokenizer, config):
    """[{id, content, flags}] of tokenizer.json and of the other files, by the ids they say."""
    tokens = {}
    decoder = config.get("added_tokens_decoder", {})
    if "added_tokens_decoder" not in config.values:
        old = Configuration.read_optional(folder / "added_tokens.json")
        decoder = {index: {"content": text} for text, index in old.values.items()
                   if is_whole(index) or old.fail(f"{text} is {show(index)}, expected an id")}
    if not isinstance(decoder, dict):
        config.fail(f"added_tokens_decoder is {show(decoder)}, expected id -> token")
    for index, token in decoder.items():
        if not str(index).isdecimal() or len(str(index)) > 9:
            config.fail(f"added_tokens_decoder has the id {show(index)}, expected a whole number")
        tokens[int(index)] = check_token(config, token)
    listed = tokenizer.get("added_tokens", [])
    if not isinstance(listed, list):
        tokenizer.fail(f"added_tokens is {show(listed)}, expected a list")
    for token in listed:
        index = check_token(tokenizer, token).get("id")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 1 << 31:
            tokenizer.fail(f"added token {show(token)} has no whole number as its id")
        tokens[index] = token
    return [tokens[index] for index in sorted(tokens)]


def check_token(config, token):
    """The token, where the page's tokenizer can find it in a text as transformers does."""
    if not isinstance(token, dict) or not is_text(token.get("content")):
        config.fail(f"added token {show(token)} lacks id or content")
    for flag in FLAGS:
        if not isinstance(token.get(flag, False), bool):
            config.fail(f"added token {show(token)} has {flag} {show(token[flag])}, expected true "
                        "or false")
    if token.get("single_word"):
        config.fail(f"added token {show(token['content'])} is single_word, which the page's "
                    "tokenizer does not know")
    return token


def number_tokens(vocabulary, tokens, special, flags):
    """The added tokens as the page gets them: `tokens`, then what of `special` is not among them.

    vocabulary: token -> id of the model; flags: text -> those of `special` that have some. Returns
    [{id, content, flags}], each content once.
    """
    known, following = {}, len(vocabulary)
    special = [{"content": text} | flags.get(text, {}) | {"special": True}
               for text in special if text is not None]
    for token in (*tokens, *special):
        text = token["content"]
        if not text or text in known:
            continue
        index = vocabulary.get(text)
        if index is None:
            index, following = following, following + 1
        is_special = token.get("special", False)
        known[text] = {"id": index, "content": text,
                       **{flag: token.get(flag, False) for flag in FLAGS},
                       "normalized": token.get("normalized", not is_special)}
    return list(known.values())
