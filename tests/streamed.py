"""diffusers' pipeline of an MLX-packed checkpoint that is too large for memory in float32.

The classes are diffusers' and transformers' own; a block has weights only while it runs.
"""

import torch
from diffusers import Flux2Transformer2DModel
from safetensors import safe_open
from transformers import Qwen3Config, Qwen3ForCausalLM

from tests.reference import assemble, call_arguments, dequantise, read_json


def load_streamed(path):
    """The checkpoint folder as a Flux2KleinPipeline in float32."""
    pipeline = assemble(path, stream_text_encoder(path),
                        stream_transformer(path / "transformer-packed-mflux"))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stream_transformer(folder):
    config = Flux2Transformer2DModel.load_config(folder)
    bits = read_json(folder / "quantization_config.json")["bits"]
    tensors = PackedFile(folder / "diffusion_pytorch_model.safetensors", bits)
    with torch.device("meta"):
        transformer = Flux2Transformer2DModel.from_config(config)
    return stream(transformer, ("transformer_blocks", "single_transformer_blocks"), tensors)


def stream_text_encoder(path):
    """Layers up to the last tap's, without a head; embeddings are rows of the file."""
    folder = path / "text_encoder-mlx-4bit"
    config = read_json(folder / "config.json")
    grids = [config.pop(key, None) for key in ("quantization", "quantization_config")]
    bits = next(grid for grid in grids if grid)["bits"]
    last = max(call_arguments(path)["text_encoder_out_layers"])
    config["num_hidden_layers"] = min(last + 1, config["num_hidden_layers"])
    tensors = PackedFile(folder / "model.safetensors", bits)
    with torch.device("meta"):
        encoder = Qwen3ForCausalLM(Qwen3Config(**config))
    encoder.lm_head = torch.nn.Identity()
    encoder.model.embed_tokens = Rows(tensors, "model.embed_tokens")
    encoder.model.rotary_emb = type(encoder.model.rotary_emb)(encoder.config)
    return stream(encoder, ("model.layers",), tensors)


def stream(module, lists, tensors):
    """Gives the module its weights: those of the lists' blocks only while a block runs."""
    for name in lists:
        for i, block in enumerate(module.get_submodule(name)):
            block.register_forward_pre_hook(
                lambda block, args, prefix=f"{name}.{i}.": fill(block, tensors.under(prefix)))
            block.register_forward_hook(lambda block, args, output: empty(block))
    own = {name for name, _ in module.named_parameters()
           if not name.startswith(tuple(f"{prefix}." for prefix in lists))}
    module.load_state_dict(tensors.some(own), strict=False, assign=True)
    return module.eval()


def fill(block, weights):
    block.load_state_dict(weights, assign=True)


def empty(block):
    block.to("meta")


class PackedFile:
    """Tensors of a safetensors file, read and dequantised to `dtype` when asked for."""

    def __init__(self, path, bits, dtype=torch.float32):
        self.file, self.bits, self.dtype = safe_open(path, "pt"), bits, dtype
        self.names = set(self.file.keys())

    def some(self, names):
        """name -> tensor, of those names that the file has."""
        stems = {name.rpartition(".")[0] for name in names}
        return self.whole({name: self.file.get_tensor(name) for name in self.names
                           if name.rpartition(".")[0] in stems})

    def whole(self, tensors):
        """What the file has of them, dequantised."""
        return {name: value.to(self.dtype)
                for name, value in dequantise(tensors, self.bits).items()}

    def under(self, prefix):
        """What begins with `prefix`, which is cut off."""
        names = {name for name in self.names if name.startswith(prefix)}
        return {name.removeprefix(prefix): value for name, value in self.some(names).items()}


class Rows(torch.nn.Module):
    """An embedding whose table stays in its file; what it gives is multiplied by `scale`."""

    def __init__(self, tensors, stem, scale=1):
        super().__init__()
        self.tensors, self.stem, self.scale = tensors, stem, scale
        self.anchor = torch.nn.Parameter(  # says device and dtype of the encoder
            torch.zeros(1, dtype=tensors.dtype))

    def forward(self, ids):
        """i64 [..., S] -> [..., S, D]."""
        parts = {f"{self.stem}.{part}": self.tensors.file.get_slice(f"{self.stem}.{part}")
                 for part in ("weight", "scales", "biases")}
        known, places = ids.unique(return_inverse=True)
        rows = [self.tensors.whole({name: part[row:row + 1] for name, part in parts.items()})[
            f"{self.stem}.weight"] for row in known.tolist()]
        return torch.cat(rows)[places] * self.scale
