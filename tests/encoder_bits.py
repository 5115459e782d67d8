"""What fewer bits in the text encoder would save, and what they cost: prints a Markdown table.

    python -m tests.encoder_bits [--model models/garden-teacher] [--prompts 200]

Every scheme rounds the bf16 encoder's linear weights as MLX does (scale and bias per group), some
with each group's range clipped where that lowers its squared error. The error is of the hidden
states that the transformer reads, over the prompts' own tokens, relative to the bf16 encoder's and
averaged over the states; the bytes are those of Qwen3-4B (27 layers and the embedding) with 16-bit
scales and biases.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from export.packing.formats import quantize_affine, widen_bf16
from export.text_encoders.qwen3 import Qwen3Config
from export.text_encoders.qwen3 import spec as qwen3_spec
from train.garden.packed import load_pipeline
from train.garden.prompts import evaluation_prompts

CLIPS = (1, .95, .9, .85, .8, .75, .7)  # of a group's range, tried when a scheme says so
QWEN3_4B = Qwen3Config(
    hidden_size=2560, num_hidden_layers=27, total_hidden_layers=36, num_attention_heads=32,
    num_key_value_heads=8, head_dim=128, intermediate_size=9728, rms_norm_eps=1e-6,
    rope_theta=1e6, vocab_size=151936, taps=(9, 18, 27))


def every(bits, group, clipped=False):
    return lambda name, depth: (bits, group, clipped)


def mixed(low, is_low):
    """`low` bits where is_low(name, depth 0..1 in the encoder), 4 elsewhere, in groups of 64."""
    return lambda name, depth: (low if is_low(name, depth) else 4, 64, False)


SCHEMES = {
    "4 bits, group 64 (as MLX)": every(4, 64),
    "4 bits, group 128": every(4, 128),
    "4 bits, group 64, clipped": every(4, 64, True),
    "4 bits, group 128, clipped": every(4, 128, True),
    "3 bits, group 64": every(3, 64),
    "3 bits, group 64, clipped": every(3, 64, True),
    "3 bits, group 32, clipped": every(3, 32, True),
    "3 bits in the embedding, else 4": mixed(3, lambda name, _: "embed" in name),
    "3 bits in gate and up, else 4": mixed(
        3, lambda name, _: "gate" in name or "up_proj" in name),
    "3 bits in the last third, else 4": mixed(3, lambda _, depth: depth >= 2 / 3),
    "8 bits, group 64": every(8, 64),
}


def rounded(weight, bits, group, clipped):
    """f32 [N, K] as it reads after quantisation, by the clip with the least error in each group."""
    rows, columns = weight.shape
    groups = weight.reshape(-1, group)
    middle = (groups.max(1, keepdims=True) + groups.min(1, keepdims=True)) / 2
    best, least = None, None
    for clip in CLIPS if clipped else CLIPS[:1]:
        half = np.abs(groups - middle).max(1, keepdims=True) * np.float32(clip)
        codes, scales, biases = quantize_affine(
            np.clip(groups, middle - half, middle + half).astype(np.float32), bits, group)
        got = codes * widen_bf16(scales) + widen_bf16(biases)
        error = np.square(got - groups).sum(1)
        if best is None:
            best, least = got, error
        better = error < least
        best[better], least[better] = got[better], error[better]
    return best.reshape(rows, columns)


def depth_of(name, layers):
    """0 for the embedding, then each layer's place below 1."""
    return int(name.split("layers.")[1].split(".")[0]) / layers if "layers." in name else 0


def full_bytes(scheme):
    """Bytes of Qwen3-4B's linear weights under a scheme."""
    total = 0
    for name, spec in qwen3_spec(QWEN3_4B).items():
        if len(spec.shape) == 2:
            bits, group, _ = scheme(name, depth_of(name, QWEN3_4B.num_hidden_layers))
            total += spec.shape[0] * spec.shape[1] * (bits + 32 / group) / 8
    return total


@torch.no_grad()
def hidden_states(encoder, ids, mask, taps):
    states = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    return [states[tap][mask.bool()] for tap in taps]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/garden-teacher"))
    parser.add_argument("--prompts", type=int, default=200)
    args = parser.parse_args()
    pipeline, arguments = load_pipeline(args.model)
    encoder, taps = pipeline.text_encoder.model, arguments["text_encoder_out_layers"]
    texts = [pipeline.tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt.text}], tokenize=False, add_generation_prompt=True,
        enable_thinking=False) for prompt in evaluation_prompts(args.prompts)]
    batch = pipeline.tokenizer(texts, return_tensors="pt", padding=True)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    weights = {name: p for name, p in encoder.named_parameters() if p.ndim == 2}
    original = {name: p.detach().numpy().copy() for name, p in weights.items()}
    reference = hidden_states(encoder, ids, mask, taps)
    mlx = full_bytes(next(iter(SCHEMES.values())))
    print("| scheme | relative error | Qwen3-4B, MB | saved, MB |\n| --- | --- | --- | --- |")
    for title, scheme in SCHEMES.items():
        for name, parameter in weights.items():
            chosen = scheme(name, depth_of(name, len(encoder.layers)))
            parameter.data = torch.from_numpy(rounded(original[name], *chosen))
        states = hidden_states(encoder, ids, mask, taps)
        error = np.mean([float((got - wanted).norm() / wanted.norm())
                         for got, wanted in zip(states, reference, strict=True)])
        total = full_bytes(scheme)
        print(f"| {title} | {error:.4f} | {total / 1e6:,.0f} | {(mlx - total) / 1e6:,.0f} |",
              flush=True)


if __name__ == "__main__":
    main()
