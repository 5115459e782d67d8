"""Prompts as an encoder's ids, by the pipeline's own rules, and which of its rows are read.

ids        int64 [N, L]
attended   bool [N, L]     the tokens that others attend to
read       bool [N, L]     the rows that the denoiser reads
own        bool [N, L]     those of them that are a text's own, not padding

A negative prompt, of a model that is led away from one, is text number N - 1.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers import AutoTokenizer

NEGATIVE_SHARE = 0.1  # of the samples


@dataclass(frozen=True)
class Batch:
    """Some of the texts, on a device."""

    ids: torch.Tensor
    attended: torch.Tensor
    read: torch.Tensor
    own: torch.Tensor


@dataclass(frozen=True)
class Texts:
    ids: torch.Tensor
    attended: torch.Tensor
    read: torch.Tensor
    own: torch.Tensor
    negative: bool

    def batch(self, rows, device):
        chosen = torch.as_tensor(list(rows))
        return Batch(*(part[chosen].to(device)
                       for part in (self.ids, self.attended, self.read, self.own)))


def read_texts(model, encoder, prompts):
    """The Texts of prompts for one of a model's encoders, a part's name.

    model: export.packing.model.Model.
    """
    asked = next(each for each in model.prompts if each.about.encoder == encoder)
    about, call = asked.about, model.call
    rows = asked.rows(call.max_sequence_length)
    length = asked.length(call.max_sequence_length)
    tokenizer = AutoTokenizer.from_pretrained(asked.tokenizer.folder)
    if about.pads_right:
        tokenizer.padding_side = "right"
    texts = [as_text(about, tokenizer, prompt) for prompt in prompts]
    if asked.instruction:
        texts = [asked.instruction.text + text for text in texts]
    ids, valid = encode(tokenizer, texts, length)
    kept = torch.zeros(length, dtype=torch.bool)
    for first, count in asked.instruction.keep(rows) if asked.instruction else [[0, rows]]:
        kept[first : first + count] = True
    read = kept.expand_as(valid).clone()
    negative = call.guidance.kind == "cfg" and call.guidance.negative
    if negative:  # which has no instruction before it
        text = as_text(about, tokenizer, call.own.get("negative_prompt", ""))
        last, is_text = encode(tokenizer, [text], rows)
        ids = torch.cat([ids, pad(last, (0, length - rows), value=tokenizer.pad_token_id)])
        valid = torch.cat([valid, pad(is_text, (0, length - rows))])
        read = torch.cat([read, (torch.arange(length) < rows).expand(1, -1)])
    if not about.keeps_padding:
        read &= valid
    attended = valid if about.mask else torch.ones_like(valid)
    return Texts(ids, attended, read, read & valid, negative)


def as_text(about, tokenizer, prompt):
    """A prompt as the pipeline gives it to the tokenizer; about: export's Prompt."""
    prompt = prompt.lower() if about.lower else prompt
    prompt = prompt.strip() if about.strip else prompt
    if not about.chat:
        return prompt
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True,
        enable_thinking=False)


def encode(tokenizer, texts, length):
    """ids int64 and whether they are no padding, bool, each [N, length]."""
    out = tokenizer(texts, padding="max_length", truncation=True, max_length=length,
                    return_tensors="pt")
    return out["input_ids"], out["attention_mask"].bool()
