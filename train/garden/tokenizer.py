"""Garden's tokenizer: byte-level BPE in Qwen's style, trained on the captions.

All 256 bytes are in the vocabulary, so any script can be typed; 1024 entries in all.
"""

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2TokenizerFast

from .architecture import TEXT_TOKENS, VOCABULARY
from .caption import captions
from .scene import random_scene

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Qwen2's splitting: contractions, words, digits one by one, punctuation, spaces.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TEMPLATE = "{{ messages[0]['content'] }}<|im_end|>"


def train_bpe(scenes=12000):
    """The BPE of some thousand captions, in a plain `tokenizers` object."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[PAD, START, END], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    bpe.train_from_iterator(captions([random_scene(seed) for seed in range(scenes)], 0), trainer)
    return bpe


def save_tokenizer(folder):
    """Train and write an ordinary tokenizer folder."""
    tokenizer = Qwen2TokenizerFast(
        tokenizer_object=train_bpe(), unk_token=None, bos_token=None, eos_token=END,
        pad_token=PAD, additional_special_tokens=[START], model_max_length=TEXT_TOKENS,
        chat_template=CHAT_TEMPLATE)
    tokenizer.save_pretrained(folder, save_jinja_files=False)


def tokenize(tokenizer, prompts):
    """Ids and mask [B, 40] of the prompts, as Flux2KleinPipeline makes them."""
    texts = [tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False,
                                           add_generation_prompt=True, enable_thinking=False)
             for prompt in prompts]
    batch = tokenizer(texts, return_tensors="pt", padding="max_length", truncation=True,
                      max_length=TEXT_TOKENS)
    return batch["input_ids"], batch["attention_mask"]
