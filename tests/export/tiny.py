"""A tiny random checkpoint in the published layouts, written without torch and without export/.

Every writer here is independent arithmetic: what export/ reads back is checked against it.
Low-bit weights are kept as `weights[name]`, float32 [out, in].
"""

import json
import struct

import numpy as np

GROUP, TEXT_GROUP = 128, 64
NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "U32": "<u4", "I64": "<i8", "U8": "u1",
         "I8": "i1", "I32": "<i4", "F64": "<f8", "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1"}

TRANSFORMER = {
    "_class_name": "Flux2Transformer2DModel", "in_channels": 16, "out_channels": None,
    "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 32, "num_attention_heads": 4,
    "joint_attention_dim": 128, "timestep_guidance_channels": 32, "mlp_ratio": 2.0,
    "axes_dims_rope": [4, 12, 12, 4], "rope_theta": 2000, "eps": 1e-6, "guidance_embeds": False,
    "patch_size": 1, "musubi_blocks_to_swap": 0,
}
TEXT_ENCODER = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
    "intermediate_size": 128, "rms_norm_eps": 1e-6, "rope_theta": 1e6, "vocab_size": 40,
    "hidden_act": "silu",
}
AUTOENCODER = {
    "_class_name": "AutoencoderKLFlux2", "block_out_channels": [8, 12], "latent_channels": 4,
    "decoder_block_out_channels": None, "layers_per_block": 1, "norm_num_groups": 4,
    "batch_norm_eps": 1e-4, "patch_size": [2, 2], "out_channels": 3,
}
CALL = {"text_encoder_out_layers": [1, 2], "max_sequence_length": 16, "width": 32, "height": 24,
        "num_inference_steps": 3, "sizes": [[32, 24], [64, 64]], "prompts": ["a pine"]}
TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- 'go' }}\n"
    "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
    "        {{- '<think>\\n\\n' }}\n"
    "    {%- endif %}\n"
    "{%- endif %}"
)


def bf16(values):
    """f32 -> the nearest bf16, as u16 (by cutting: the tiny values below are chosen exact)."""
    return (np.asarray(values, "<f4").view("<u4") >> 16).astype("<u2")


def as_float(stored, dtype):
    if dtype == "BF16":
        return (stored.astype("<u4") << 16).view("<f4")
    return stored.astype("<f4")


def save(path, tensors):
    """Writes name -> (dtype, array) as safetensors."""
    entries, at = {}, 0
    for name, (dtype, array) in tensors.items():
        array = np.asarray(array, NUMPY[dtype])
        entries[name] = {"dtype": dtype, "shape": list(array.shape),
                         "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps({"__metadata__": {"format": "pt"}} | entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for dtype, array in tensors.values():
            file.write(np.ascontiguousarray(array, NUMPY[dtype]).tobytes())


def load(path):
    """The inverse of save: name -> (dtype, array)."""
    data = path.read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + count])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + count + at for at in entry["data_offsets"])
        array = np.frombuffer(data[begin:end], NUMPY[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = (entry["dtype"], array)
    return tensors


def edit(path, change):
    """Rewrites a safetensors file after change(tensors)."""
    tensors = load(path)
    change(tensors)
    save(path, tensors)


def pack_bits(codes, bits):
    """[N, K] -> u32 [N, K*bits/32], code by code."""
    words = np.zeros((len(codes), codes.shape[1] * bits // 32), "<u4")
    for i in range(codes.shape[1]):
        at = i * bits
        words[:, at // 32] |= codes[:, i].astype("<u4") << np.uint32(at % 32)
    return words


class Tiny:
    """One random model; `write` puts it down in a layout."""

    def __init__(self, variant="ternary", dtype="BF16", seed=0):
        self.random = np.random.default_rng(seed)
        self.variant, self.dtype = variant, dtype
        self.codes, self.scales = {}, {}
        self.transformer = self.make_transformer()
        self.text_encoder = self.make_text_encoder()
        self.autoencoder = self.make_autoencoder()

    def floats(self, *shape):
        """Random values that bf16 and f16 hold exactly, as stored."""
        values = self.random.integers(-128, 128, shape) / 256.0
        return self.store(values)

    def store(self, values):
        if self.dtype == "BF16":
            return self.dtype, bf16(values)
        return self.dtype, np.asarray(values, NUMPY[self.dtype])

    def make_transformer(self):
        width, mlp, head, text = 128, 256, 32, 128
        shapes = {
            "time_guidance_embed.timestep_embedder.linear_1": (width, 32),
            "time_guidance_embed.timestep_embedder.linear_2": (width, width),
            "double_stream_modulation_img.linear": (6 * width, width),
            "double_stream_modulation_txt.linear": (6 * width, width),
            "single_stream_modulation.linear": (3 * width, width),
            "x_embedder": (width, 16), "context_embedder": (width, text),
            "norm_out.linear": (2 * width, width), "proj_out": (16, width),
        }
        for norm in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            shapes[f"transformer_blocks.0.attn.{norm}"] = (head,)
        for norm in ("norm_q", "norm_k"):
            shapes[f"single_transformer_blocks.0.attn.{norm}"] = (head,)
        lowbit = {f"transformer_blocks.0.attn.{name}": (width, width) for name in (
            "to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj",
            "to_out.0", "to_add_out")}
        for mlp_name in ("ff", "ff_context"):
            lowbit[f"transformer_blocks.0.{mlp_name}.linear_in"] = (2 * mlp, width)
            lowbit[f"transformer_blocks.0.{mlp_name}.linear_out"] = (width, mlp)
        lowbit["single_transformer_blocks.0.attn.to_qkv_mlp_proj"] = (3 * width + 2 * mlp, width)
        lowbit["single_transformer_blocks.0.attn.to_out"] = (width, width + mlp)
        for name, (rows, columns) in lowbit.items():
            levels = 3 if self.variant == "ternary" else 2
            self.codes[name] = self.random.integers(0, levels, (rows, columns)).astype(np.uint8)
            self.scales[name] = self.random.integers(1, 128, (rows, columns // GROUP)) / 256.0
        if self.variant == "ternary":  # an all-zero group has scale 0
            self.codes["transformer_blocks.0.attn.to_q"][0, :GROUP] = 1
            self.scales["transformer_blocks.0.attn.to_q"][0, 0] = 0
        return {f"{name}.weight": self.floats(*shape) for name, shape in shapes.items()}

    def make_text_encoder(self):
        hidden, mlp, query, key, head = 64, 128, 128, 64, 32
        tensors = {"embed_tokens.weight": self.floats(40, hidden)}
        for i in range(3):
            for name, shape in {
                "self_attn.q_proj": (query, hidden), "self_attn.k_proj": (key, hidden),
                "self_attn.v_proj": (key, hidden), "self_attn.o_proj": (hidden, query),
                "self_attn.q_norm": (head,), "self_attn.k_norm": (head,),
                "mlp.gate_proj": (mlp, hidden), "mlp.up_proj": (mlp, hidden),
                "mlp.down_proj": (hidden, mlp), "input_layernorm": (hidden,),
                "post_attention_layernorm": (hidden,),
            }.items():
                tensors[f"layers.{i}.{name}.weight"] = self.floats(*shape)
        return tensors | {"norm.weight": self.floats(hidden)}

    def make_autoencoder(self):
        tensors = {"bn.running_mean": self.floats(16), "bn.running_var": self.floats(16),
                   "bn.num_batches_tracked": ("I64", np.array(7))}

        def conv(name, cin, cout, size):
            tensors[f"{name}.weight"] = self.floats(cout, cin, size, size)
            tensors[f"{name}.bias"] = self.floats(cout)

        def norm(name, channels):
            tensors[f"{name}.weight"], tensors[f"{name}.bias"] = (
                self.floats(channels), self.floats(channels))

        def resnet(name, cin, cout):
            norm(f"{name}.norm1", cin)
            conv(f"{name}.conv1", cin, cout, 3)
            norm(f"{name}.norm2", cout)
            conv(f"{name}.conv2", cout, cout, 3)
            if cin != cout:
                conv(f"{name}.conv_shortcut", cin, cout, 1)

        def middle(name):
            resnet(f"{name}.resnets.0", 12, 12)
            norm(f"{name}.attentions.0.group_norm", 12)
            for linear in ("to_q", "to_k", "to_v", "to_out.0"):
                linear = f"{name}.attentions.0.{linear}"
                tensors[f"{linear}.weight"], tensors[f"{linear}.bias"] = (
                    self.floats(12, 12), self.floats(12))
            resnet(f"{name}.resnets.1", 12, 12)

        conv("post_quant_conv", 4, 4, 1)
        conv("decoder.conv_in", 4, 12, 3)
        middle("decoder.mid_block")
        for j in range(2):
            resnet(f"decoder.up_blocks.0.resnets.{j}", 12, 12)
        conv("decoder.up_blocks.0.upsamplers.0.conv", 12, 12, 3)
        resnet("decoder.up_blocks.1.resnets.0", 12, 8)
        resnet("decoder.up_blocks.1.resnets.1", 8, 8)
        norm("decoder.conv_norm_out", 8)
        conv("decoder.conv_out", 8, 3, 3)

        conv("encoder.conv_in", 3, 8, 3)
        resnet("encoder.down_blocks.0.resnets.0", 8, 8)
        conv("encoder.down_blocks.0.downsamplers.0.conv", 8, 8, 3)
        resnet("encoder.down_blocks.1.resnets.0", 8, 12)
        middle("encoder.mid_block")
        norm("encoder.conv_norm_out", 12)
        conv("encoder.conv_out", 12, 8, 3)
        conv("quant_conv", 8, 8, 1)
        return tensors

    @property
    def weights(self):
        """name -> the low-bit weights, f32 [out, in]."""
        middle = 1 if self.variant == "ternary" else 0.5
        factor = 1 if self.variant == "ternary" else 2
        weights = {}
        for name, codes in self.codes.items():
            scales = np.repeat(self.scales[name], GROUP, axis=1)
            weights[name] = factor * scales * (codes.astype(float) - middle)
        return weights

    def write(self, folder, layout="mlx"):
        """layout: mlx (packed transformer, 4-bit text encoder) or unpacked."""
        write_json(folder / "model_index.json",
                   {"_class_name": "Flux2KleinPipeline", "is_distilled": True})
        write_json(folder / "trefoil.json", CALL)
        write_tokenizer(folder / "tokenizer")
        write_json(folder / "vae" / "config.json", AUTOENCODER)
        save(folder / "vae" / "diffusion_pytorch_model.safetensors", self.autoencoder)
        {"mlx": self.write_mlx, "unpacked": self.write_unpacked}[layout](folder)
        return folder

    def write_unpacked(self, folder):
        tensors = self.transformer | {
            f"{name}.weight": self.store(weights) for name, weights in self.weights.items()
        }
        write_json(folder / "transformer" / "config.json", TRANSFORMER)
        save(folder / "transformer" / "diffusion_pytorch_model.safetensors", tensors)
        write_json(folder / "text_encoder" / "config.json", TEXT_ENCODER)
        tensors = {f"model.{name}": tensor for name, tensor in self.text_encoder.items()}
        save(folder / "text_encoder" / "model.safetensors", tensors)

    def write_mlx(self, folder):
        bits = 2 if self.variant == "ternary" else 1
        place = folder / "transformer-packed-mflux"
        tensors = dict(self.transformer)
        for name, codes in self.codes.items():
            scales = self.scales[name] * (1 if bits == 2 else 2)
            tensors[f"{name}.weight"] = ("U32", pack_bits(codes, bits))
            tensors[f"{name}.scales"] = self.store(scales)
            tensors[f"{name}.biases"] = self.store(-self.scales[name])
        write_json(place / "config.json", TRANSFORMER)
        write_json(place / "quantization_config.json", {"bits": bits, "group_size": GROUP})
        save(place / "diffusion_pytorch_model.safetensors", tensors)
        place = folder / "text_encoder-mlx-4bit"
        quantization = {"bits": 4, "group_size": TEXT_GROUP}
        write_json(place / "config.json", TEXT_ENCODER | {"quantization": quantization})
        save(place / "model.safetensors", self.mlx_text_encoder())

    def mlx_text_encoder(self, bits=4):
        tensors = {}
        for name, (dtype, stored) in self.text_encoder.items():
            if stored.ndim == 1:
                tensors[f"model.{name}"] = (dtype, stored)
                continue
            rows, columns = stored.shape
            base = f"model.{name.removesuffix('.weight')}"
            codes = self.random.integers(0, 2**bits, (rows, columns))
            tensors[f"{base}.weight"] = ("U32", pack_bits(codes, bits))
            tensors[f"{base}.scales"] = self.floats(rows, columns // TEXT_GROUP)
            tensors[f"{base}.biases"] = self.floats(rows, columns // TEXT_GROUP)
        return tensors


def write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def write_tokenizer(folder):
    vocabulary = {chr(97 + i): i for i in range(26)}
    added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    write_json(folder / "tokenizer.json", {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
        "added_tokens": [{"id": 26 + i, "content": c, "special": True}
                         for i, c in enumerate(added)],
    })
    write_json(folder / "tokenizer_config.json", {
        "chat_template": TEMPLATE, "pad_token": "<|endoftext|>",
        "eos_token": {"content": "<|im_end|>"}, "tokenizer_class": "Qwen2Tokenizer",
    })
