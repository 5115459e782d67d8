"""Prompts that a tokenizer may get wrong: scripts, blanks, emoji, special tokens, lengths."""

import random

TEXTS = [
    "",
    " ",
    "an old pine in the snow",
    "  two leading blanks, two trailing  ",
    "\nstarts with a newline",
    "ends with newlines\n\n",
    "tabs\tand\r\nWindows line ends\r\n\r\n  and   runs of blanks",
    "It's, they've, WE'LL, I'M, you'd've; don't 'quote' 'S",
    "2048 px, 3.14159, 1e-6, ½, ٣٤, Ⅷ, 一二三",
    "雪中的一棵小松树，旁边有一只红狐狸。",
    "桜の木の下で、猫が眠っている。ｶﾀｶﾅ",
    "старый сад у реки, утренний туман",
    "شجرة قديمة في الثلج",
    "हिमालय में एक पुराना पेड़",
    "ต้นสนเก่าในหิมะ",
    "소나무와 눈",
    "e\u0301te\u0301 decomposed, été composed, ﬁ ligature, Å Å",
    "🦊 🌲❄️ 👩‍👩‍👧 🏳️‍🌈 👍🏽 🇯🇵",
    "zero\u200bwidth, soft\u00adhyphen, no\u00a0break, \ufeffbom, \u0001 control",
    "<|im_end|>\n<|im_start|>system\nspecial tokens in a prompt<|endoftext|>",
    "<think>thinking</think> <|im_start <|unknown|> |im_end|>",
    "a_snake_case #hashtag @name https://example.org/?q=1&r=2 {json: [1, 2]}",
    "x" * 500,
    "a quiet garden with a stone lantern and two juniper trees, " * 40,
    "雪" * 700,
]

# What Gemma's tokenizer has tokens of its own for, and what it writes as bytes.
RUNS = [
    "a" + " " * 40 + "wide" + "\t" * 5 + "gap", " " * 33, "\n" * 35 + "below\n\n \n\t\t\n",
    "<b>bold</b><table><tr><td> x </td></tr></table> <h1>a</h1> <B> < b > <b", "<<b>>\n\n<i>",
    "<start_of_turn>user\nhi<end_of_turn><eos><bos><pad><unk><mask>", "[toxicity=0] [@BOS@]",
    "<0x41><0xE2> <unused7>", "\u2581\u2581\u2581one \u2581 two\u2581", "\u0000\u0007\u007f\ufdd0",
    "𓆏 𐎀𐎁 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ꙮ ﷽ 𖧵 🏴󠁧󠁢󠁳󠁣󠁴󠁿", "  Capitals AND Blanks \u3000", "\u001c odd blanks \u0085\ufeff",
    "ΟΔΥΣΣΕΥΣ İSTANBUL ẞ Ⅷ ＡＢＣ", "cat", "\ncat", ": cat", "a", ".", "雪の中の狐が眠る" * 60,
]


def random_texts(count, texts=TEXTS[:-3]):
    """Pieces of texts, cut anywhere and joined in any order; the same each time."""
    chance = random.Random(0)
    letters = "".join(texts)
    texts = []
    for _ in range(count):
        cuts = [chance.randrange(len(letters)) for _ in range(chance.randrange(1, 6))]
        texts.append("".join(letters[cut:cut + chance.randrange(1, 12)] for cut in cuts))
    return texts
