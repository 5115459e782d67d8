"""Texts to ids, at export: where a tokenizer's steps are few enough to be done here exactly."""

import re

from export.prompts.pieces import Pieces


class Encoder:
    """A tokenizer of Pieces, whose normalizer is a Replace of texts or none.

    replaced: (text, what stands for it); added: as number_tokens gives them; before, after: ids
    around each text.
    """

    def __init__(self, pieces: Pieces, replaced, added, before, after):
        self.pieces = pieces
        self.replaced = replaced
        self.before, self.after = before, after
        self.added = {token["content"]: token for token in added}
        raw = [text for text, token in self.added.items() if not token["normalized"]]
        self.raw = longest_first(raw)
        self.normalized = {self.normalize(text): token["id"] for text, token in self.added.items()
                           if token["normalized"]}

    def encode(self, text):
        """(ids, how many of the first are the same whatever text follows)."""
        end = self.settled(text)
        ids, firm, at = list(self.before), len(self.before), 0
        for found in self.raw.finditer(text):
            ids += self.encode_piece(text[at:found.start()])
            ids.append(self.added[found[0]]["id"])
            at = found.end()
            if at <= end:
                firm = len(ids)
        return ids + self.encode_piece(text[at:]) + self.after, firm

    def settled(self, text):
        """Up to where added tokens are found whatever follows: none begins there and ends later."""
        most = max(map(len, self.added), default=0)
        starts = range(max(0, len(text) - most), len(text))
        return next((at for at in starts if self.may_begin(text[at:])), len(text))

    def may_begin(self, tail):
        return any(len(token) > len(tail) and token.startswith(tail) for token in self.added)

    def encode_piece(self, text):
        """A text between added tokens that are found before it is normalised."""
        text, ids, at = self.normalize(text), [], 0
        for found in longest_first(self.normalized).finditer(text):
            ids += self.pieces.encode(text[at:found.start()]) + [self.normalized[found[0]]]
            at = found.end()
        return ids + self.pieces.encode(text[at:])

    def normalize(self, text):
        return text.replace(*self.replaced) if self.replaced else text


def longest_first(texts):
    """Finds these texts, of several at one place the longest; of none nothing."""
    choices = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
    return re.compile(choices or r"(?!)")


def make_encoder(pieces, steps, added, around):
    """The Encoder of a tokenizer, None where it has steps that are not done here.

    around: (ids before, ids after) each text.
    """
    strips = any(token["lstrip"] or token["rstrip"] for token in added)
    normalizer = steps["normalizer"]
    if pieces is None or steps["pre_tokenizer"] is not None or strips:
        return None
    if normalizer is not None and not is_text_replace(normalizer):
        return None
    replaced = (normalizer["pattern"]["String"], normalizer["content"]) if normalizer else None
    return Encoder(pieces, replaced, added, *around)


def is_text_replace(step):
    return (step["type"] == "Replace" and bool(step["pattern"].get("String"))
            and isinstance(step.get("content"), str))
