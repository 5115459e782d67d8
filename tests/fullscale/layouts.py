"""The published layouts of a Model: folders, files, tensor names, dtypes and bit orders."""

from tempfile import TemporaryDirectory

import numpy as np
import torch

from tests.fullscale.codes2b import write_codes2b
from tests.fullscale.encoders import ENCODERS
from tests.fullscale.flux2 import GROUP
from tests.fullscale.formats import (
    Part,
    Scratch,
    bitstream,
    words,
    write_gguf,
    write_json,
    write_safetensors,
)

ENCODER_OF = {"mlx": "mlx", "gemlite": "hqq", "unpacked": "bf16"}


def write(model, layout, folder, encoder=None):
    """Writes a whole checkpoint; layout is a key of TRANSFORMERS, encoder one of ENCODERS."""
    encoder = encoder or ENCODER_OF.get(layout, "mlx")
    family = model.family
    write_json(folder / "model_index.json", family.index)
    if model.call:
        write_json(folder / "trefoil.json", model.call)
    write_json(folder / "scheduler" / "scheduler_config.json", family.scheduler)
    TRANSFORMERS[layout](model, folder)
    places = [ENCODERS[encoder](model, folder, component) for component in model.encoders]
    for place, (tokenizer, write_tokenizer) in zip(places, family.tokenizers.items(), strict=True):
        write_tokenizer(folder / (place if encoder == "hqq" else tokenizer), model.scale)
    write_json(folder / "vae" / "config.json", model.configs["vae"])
    vae = [model.whole(name, shape) for name, shape in model.vae.items()]
    write_safetensors(folder / "vae" / "diffusion_pytorch_model.safetensors", vae, model.hollow)


# Transformers


def write_mlx(model, folder):
    place = folder / "transformer-packed-mflux"
    parts = []
    for name, shape in model.transformer.items():
        if not model.is_lowbit(name):
            parts.append(model.whole(name, shape))
            continue
        base, groups = name.removesuffix("weight"), (shape[0], shape[1] // model.group)
        parts += [
            Part(name, "U32", words(*shape[:2], model.bits), lambda n=name: mlx_codes(model, n)),
            *(Part(base + part, "BF16", groups, lambda n=name, p=part: mlx_scales(model, n, p),
                   start=mlx_grid(model, alternating(groups[1]), part))
              for part in ("scales", "biases")),
        ]
    write_json(place / "config.json", model.configs["transformer"])
    write_json(place / "quantization_config.json", {"bits": model.bits, "group_size": model.group})
    write_safetensors(place / "diffusion_pytorch_model.safetensors", parts, model.hollow)


def mlx_codes(model, name):
    yield bitstream(model.lowbit(name)[0], model.bits)


def mlx_scales(model, name, part):
    """Ternary: s, -s; binary: 2s, -s."""
    yield mlx_grid(model, model.lowbit(name)[1], part)


def mlx_grid(model, scales, part):
    factor = model.levels == 2 and 2 or 1
    values = scales * factor if part == "scales" else -scales
    return (np.ascontiguousarray(values, "<f4").view("<u4") >> 16).astype("<u2")


def alternating(groups):
    """Scales of a row, no two neighbours alike: the group is no wider than it is."""
    return 1 + np.arange(groups, dtype=np.float32) % 2


def write_gemlite(model, folder):
    place = folder / f"transformer-gemlite-int{model.bits}"
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as scratch:
        files, state = Scratch(scratch), {}
        for name, shape in model.transformer.items():
            if not model.is_lowbit(name):
                chunks = model.floats(name, shape)
                state[name] = files.concatenated(chunks, shape, "BF16")
                continue
            base = name.removesuffix("weight")
            codes, scales = model.lowbit(name)
            scales = np.ascontiguousarray(scales.T)
            metadata = [0, model.bits, GROUP, model.levels, 8 // model.bits, 1, 1, 0, 1, 0, 4, 1]
            state |= {
                f"{base}W_q": files.tensor(bitstream(codes, model.bits).T, "U8"),
                f"{base}scales": files.tensor(scales * (3 - model.bits), "F32"),
                f"{base}zeros": files.tensor(-scales, "F32"),
                f"{base}metadata": torch.tensor(metadata, dtype=torch.int32),
                f"{base}orig_shape": torch.tensor(shape, dtype=torch.int32),
            }
        torch.save(state, place / "state_dict.pt")
    write_json(place / "config.json", model.configs["transformer"])
    kind = f"gemlite-int{model.bits}-{model.variant}-g128"
    write_json(place / "quantization_config.json", {"format": kind, "bits": model.bits})


def write_unpacked(model, folder):
    parts = []
    for name, shape in model.transformer.items():
        if model.is_lowbit(name):
            parts.append(Part(name, "BF16", shape, lambda n=name: [model.weights(n)]))
        else:
            parts.append(model.whole(name, shape))
    place = folder / "transformer"
    write_json(place / "config.json", model.configs["transformer"])
    write_safetensors(place / "diffusion_pytorch_model.safetensors", parts, model.hollow)


# The original names: native name -> the diffusers names whose rows it holds, in order.


def native_names(model):
    double = {"attn.norm_q": "img_attn.norm.query_norm", "attn.norm_k": "img_attn.norm.key_norm",
              "attn.norm_added_q": "txt_attn.norm.query_norm",
              "attn.norm_added_k": "txt_attn.norm.key_norm"}
    linears = {"img_attn.proj": "attn.to_out.0", "txt_attn.proj": "attn.to_add_out",
               "img_mlp.0": "ff.linear_in", "img_mlp.2": "ff.linear_out",
               "txt_mlp.0": "ff_context.linear_in", "txt_mlp.2": "ff_context.linear_out"}
    names = {
        "img_in.weight": ["x_embedder.weight"], "txt_in.weight": ["context_embedder.weight"],
        "final_layer.linear.weight": ["proj_out.weight"],
        "final_layer.adaLN_modulation.1.weight": ["norm_out.linear.weight"],
    }
    for native, ours in (("in_layer", "linear_1"), ("out_layer", "linear_2")):
        embed = f"time_guidance_embed.timestep_embedder.{ours}.weight"
        names[f"time_in.{native}.weight"] = [embed]
    for kind in ("double_stream_modulation_img", "double_stream_modulation_txt",
                 "single_stream_modulation"):
        names[f"{kind}.lin.weight"] = [f"{kind}.linear.weight"]
    for i in range(model.configs["transformer"]["num_layers"]):
        ours, native = f"transformer_blocks.{i}", f"double_blocks.{i}"
        for stream, qkv in (("img", ("to_q", "to_k", "to_v")),
                            ("txt", ("add_q_proj", "add_k_proj", "add_v_proj"))):
            fused = [f"{ours}.attn.{part}.weight" for part in qkv]
            names[f"{native}.{stream}_attn.qkv.weight"] = fused
        for name, native_name in double.items():
            names[f"{native}.{native_name}.scale"] = [f"{ours}.{name}.weight"]
        for native_name, name in linears.items():
            names[f"{native}.{native_name}.weight"] = [f"{ours}.{name}.weight"]
    for i in range(model.configs["transformer"]["num_single_layers"]):
        ours, native = f"single_transformer_blocks.{i}.attn", f"single_blocks.{i}"
        names |= {f"{native}.linear1.weight": [f"{ours}.to_qkv_mlp_proj.weight"],
                  f"{native}.linear2.weight": [f"{ours}.to_out.weight"],
                  f"{native}.norm.query_norm.scale": [f"{ours}.norm_q.weight"],
                  f"{native}.norm.key_norm.scale": [f"{ours}.norm_k.weight"]}
    return names


def native_parts(model, lowbit_part, swapped=False):
    """The Parts of a native file; lowbit_part(native name, names, shape) makes the low-bit ones."""
    parts = []
    for native, names in native_names(model).items():
        rows = sum(model.transformer[name][0] for name in names)
        shape = (rows, *model.transformer[names[0]][1:])
        if model.is_lowbit(names[0]):
            parts.append(lowbit_part(native, names, shape))
        elif native.startswith("final_layer.adaLN") and not swapped:
            parts.append(Part(native, "BF16", shape, lambda s=shape: halves(model, s)))
        else:
            chunks = lambda n=names[0], s=shape: model.floats(n, s)  # noqa: E731
            parts.append(Part(native, "BF16", shape, chunks))
    return parts


def halves(model, shape):
    rows = np.concatenate(list(model.floats("norm_out.linear.weight", shape)))
    return [rows[shape[0] // 2 :], rows[: shape[0] // 2]]


def write_native(model, folder):
    def lowbit_part(native, names, shape):
        return Part(native, "BF16", shape, lambda: (model.weights(name) for name in names))

    path = folder / "flux-2-klein-4b.safetensors"
    write_safetensors(path, native_parts(model, lowbit_part))


def write_gguf_file(model, folder, block=GROUP, swapped=False, kind="Q2_0", **options):
    """binary: Q1_0; ternary: PQ2_0 or PTQ1_0, or Q2_0 in blocks of 128 (a fork's) or 64 (mainline).

    options: as write_gguf takes them.
    """
    kind, block = ("Q1_0", GROUP) if model.levels == 2 else (kind, block)
    parts = native_parts(model, gguf_lowbit(model, kind, block), swapped)
    write_gguf(folder / f"bonsai_image_4b-{kind.lower()}.gguf", parts, **options)


def gguf_lowbit(model, kind, block=GROUP):
    """How native_parts makes a low-bit tensor of one GGUF type."""

    def part(native, names, shape):
        blocks = shape[0] * shape[1] // block
        size = blocks * (28 if kind == "PTQ1_0" else 2 + block * model.bits // 8)
        make = gguf_trits if kind == "PTQ1_0" else gguf_blocks
        return Part(native, kind, shape, lambda: (make(model, n, block) for n in names), size)

    return part


def gguf_blocks(model, name, block):
    codes, scales = model.lowbit(name)
    scales = np.repeat(scales, GROUP // block, axis=1).astype("<f2")
    packed = bitstream(codes, model.bits).reshape(scales.size, -1)
    return np.concatenate([scales.reshape(-1, 1).view(np.uint8), packed], axis=1)


def gguf_trits(model, name, block=GROUP):
    codes, scales = model.lowbit(name)
    return base3_blocks(codes.reshape(-1, block), scales, ((16, 5), (8, 5), (2, 4)))


def base3_blocks(codes, scales, runs):
    """Codes u8 [blocks, weights] -> u8 [blocks, bytes], scale last; runs: (bytes, digits a byte).

    A byte is the fraction 0.t0 t1 t2 t3 t4 in base 3, rounded up to 256ths; weight n * c + m of a
    run of c bytes is digit n of byte m. Where there are four digits the fifth is 0.
    """
    parts, at = [], 0
    for count, digits in runs:
        run = codes[:, at : at + count * digits].reshape(-1, digits, count).astype(int)
        number = sum(run[:, n] * 3 ** (4 - n) for n in range(digits))
        parts.append((-(-number * 256 // 243)).astype(np.uint8))
        at += count * digits
    stored = np.ascontiguousarray(scales, "<f2").reshape(-1, 1).view(np.uint8)
    return np.concatenate([*parts, stored], axis=1)


TRANSFORMERS = {
    "mlx": write_mlx, "gemlite": write_gemlite, "unpacked": write_unpacked,
    "codes2b": write_codes2b, "native": write_native, "gguf": write_gguf_file,
    "gguf-64": lambda model, folder: write_gguf_file(model, folder, 64),
    "gguf-pq2_0": lambda model, folder: write_gguf_file(model, folder, kind="PQ2_0"),
    "gguf-ptq1_0": lambda model, folder: write_gguf_file(model, folder, kind="PTQ1_0"),
}
