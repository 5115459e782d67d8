"""Vocabularies whose merges follow from their tokens, as those of Gemma do, made by SentencePiece.

Every way to make a token of two others is a merge there. The token with the lowest id is made
first, of its ways the one with the longest left half; but those that were given and not learned,
`tied`, go before all others, by the lengths of both halves, the longest first. So the site has the
tokens alone, and web/api/pieces.js merges by the same rule. A letter without a token becomes its
bytes' tokens, which merge with nothing.
"""

MOST_LETTERS = 1024  # of a token; what web/api/pieces.js takes for granted


class Pieces:
    """vocabulary: token -> id, all ids from 0; tied: ids."""

    def __init__(self, vocabulary, tied):
        self.vocabulary = vocabulary
        self.tied = frozenset(tied)

    def model(self):
        """As tokenizer.json has it in the site."""
        tokens = sorted(self.vocabulary, key=self.vocabulary.get)
        return {"pieces": " ".join(tokens), "tied": sorted(self.tied)}

    def ways(self):
        """All merges (left, right), in their order."""
        known, first, others = self.vocabulary, [], []
        for token in sorted(known, key=known.get):
            ways = first if known[token] in self.tied else others
            for cut in range(len(token) - 1, 0, -1):
                left, right = token[:cut], token[cut:]
                if left in known and right in known:
                    ways.append((left, right))
        return sorted(first, key=lambda way: self.rank(*way)) + others

    def rank(self, left, right):
        """When two tokens are merged, the lowest first; None: never."""
        index = self.vocabulary.get(left + right)
        if index is None:
            return None
        if index in self.tied:
            return (0, -len(left), -len(right), index)
        return (1, index, -len(left), 0)

    def encode(self, text):
        """The ids of a text without added tokens, normalised."""
        parts = [letter if letter in self.vocabulary else letter.encode() for letter in text]
        ranks = [self.rank_at(parts, i) for i in range(len(parts) - 1)]
        while any(ranks):
            best = min(rank for rank in ranks if rank)
            i = ranks.index(best)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
            del ranks[i]
            for near in (i - 1, i):
                if 0 <= near < len(ranks):
                    ranks[near] = self.rank_at(parts, near)
        return [index for part in parts for index in self.ids(part)]

    def rank_at(self, parts, i):
        """Of a part, text or a letter's bytes, and the next one."""
        both = parts[i:i + 2]
        return self.rank(*both) if all(isinstance(part, str) for part in both) else None

    def ids(self, part):
        names = [part] if isinstance(part, str) else [byte_token(byte) for byte in part]
        return [self.vocabulary[name] for name in names]


def byte_token(byte):
    return f"<0x{byte:02X}>"


def find_pieces(model, vocabulary, pairs):
    """The Pieces of a BPE with these merges, [left, right] in their order; None where they do not

    follow, or the page would need more than the tokens.
    """
    plain = not any(model.get(key) for key in ("ignore_merges", "continuing_subword_prefix",
                                               "end_of_word_suffix"))
    if not (model.get("byte_fallback") and plain and has_bytes(vocabulary)):
        return None
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return None
    if any(not token or " " in token or len(token) > MOST_LETTERS for token in vocabulary):
        return None
    octets = {byte_token(byte) for byte in range(256)}
    if any(left in octets or right in octets for left, right in pairs):
        return None
    pieces = Pieces(vocabulary, find_tied(vocabulary, pairs))
    return pieces if pieces.ways() == [tuple(pair) for pair in pairs] else None


def has_bytes(vocabulary):
    """Whether any letter without a token can be written as bytes."""
    return all(byte_token(byte) in vocabulary or (byte < 128 and chr(byte) in vocabulary)
               for byte in range(256))


def find_tied(vocabulary, pairs):
    """The ids of what is made before the merges go by id."""
    made = [(vocabulary[left + right], -len(left)) for left, right in pairs]
    start = len(made)
    while start > 1 and made[start - 2] < made[start - 1]:
        start -= 1
    return {index for index, _ in made[:max(start - 1, 0)]}
