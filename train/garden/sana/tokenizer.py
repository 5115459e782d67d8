"""The tokenizer: BPE with byte fallback in the files of Gemma's, trained on the captions.

Prompts are lower case, as SanaPipeline makes them. Every way to make a token of two others is a
merge, the token with the lowest id first, as in vocabularies that SentencePiece made.
"""

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from export.prompts.classes import GEMMA, GEMMA_STEP
from export.prompts.pieces import Pieces, byte_token

from ..caption import captions
from ..scene import random_scene
from ..teacher import write_json
from .architecture import TEXT_TOKENS, VOCABULARY

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
START = SPECIAL.index("<bos>")
WORDS = "\u2581?[a-z]+|\u2581?[^a-z]"       # no token goes beyond a word


def learned_tokens(scenes=12000):
    """Letters and what they were merged to, in the order of merging."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([
        normalizers.Lowercase(), normalizers.Replace(" ", GEMMA_STEP["content"])])
    bpe.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "isolated")
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIAL) - 256, show_progress=False)
    bpe.train_from_iterator(captions([random_scene(seed) for seed in range(scenes)], 0), trainer)
    vocabulary = bpe.get_vocab()
    return sorted(vocabulary, key=vocabulary.get)


def save_tokenizer(folder, scenes=12000):
    """Train and write tokenizer.json and tokenizer_config.json."""
    tokens = [*SPECIAL, *map(byte_token, range(256)), *learned_tokens(scenes)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    added = [{"id": index, "content": token, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True}
             for index, token in enumerate(SPECIAL)]
    bos = {"id": "<bos>", "ids": [START], "tokens": ["<bos>"]}
    before, text = ({"SpecialToken": {"id": "<bos>", "type_id": 0}},
                    {"Sequence": {"id": "A", "type_id": 0}})
    write_json(folder / "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": GEMMA_STEP, "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [before, text],
            "pair": [before, text, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": bos}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": GEMMA_STEP["content"]}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>",
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": True, "ignore_merges": False, "vocab": vocabulary,
            "merges": [list(way) for way in Pieces(vocabulary, ()).ways()]},
    })
    write_json(folder / "tokenizer_config.json", GEMMA | {
        "tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False,
        "clean_up_tokenization_spaces": False, "model_max_length": TEXT_TOKENS,
        "padding_side": "right"})


def tokenize(tokenizer, prompts):
    """Ids and mask [B, 40] of the prompts, as SanaPipeline makes them without an instruction."""
    tokenizer.padding_side = "right"
    batch = tokenizer([prompt.lower().strip() for prompt in prompts], return_tensors="pt",
                      padding="max_length", truncation=True, max_length=TEXT_TOKENS)
    return batch["input_ids"], batch["attention_mask"]
