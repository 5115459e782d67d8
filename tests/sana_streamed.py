"""diffusers' Sana of an MLX-packed checkpoint that is too large for memory in float32.

As tests/streamed.py has it: the classes are diffusers' and transformers' own, a block has weights
only while it runs.
"""

import diffusers
import torch
from diffusers import AutoencoderDC, SanaTransformer2DModel
from transformers import AutoTokenizer, Gemma2Config, Gemma2Model

from tests.reference import read_json
from tests.streamed import PackedFile, Rows, stream


def load_streamed(path):
    """The checkpoint folder as a SanaPipeline or SanaSprintPipeline in float32."""
    kind, scheduler = (getattr(diffusers, read_json(path / file)["_class_name"]) for file in
                       ("model_index.json", "scheduler/scheduler_config.json"))
    pipeline = kind(
        tokenizer=AutoTokenizer.from_pretrained(path / "tokenizer"),
        text_encoder=stream_text_encoder(path / "text_encoder-mlx-4bit"),
        vae=AutoencoderDC.from_pretrained(path / "vae", torch_dtype=torch.float32),
        transformer=stream_transformer(path / "transformer-packed-mflux"),
        scheduler=scheduler.from_pretrained(path / "scheduler"),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stream_transformer(folder):
    bits = read_json(folder / "quantization_config.json")["bits"]
    with torch.device("meta"):
        transformer = SanaTransformer2DModel.from_config(SanaTransformer2DModel.load_config(folder))
    shapes = {name: value.shape for name, value in transformer.named_parameters()}
    tensors = Convolutions(folder / "diffusion_pytorch_model.safetensors", bits, shapes)
    return stream(transformer, ("transformer_blocks",), tensors)


class Convolutions(PackedFile):
    """A PackedFile whose matrices get the shapes that the module has: of 1x1 convolutions."""

    def __init__(self, path, bits, shapes):
        super().__init__(path, bits)
        self.shapes = shapes

    def some(self, names):
        return {name: value.reshape(self.shapes[name])
                for name, value in super().some(names).items()}


def stream_text_encoder(folder):
    """In float64, since 26 layers in float32 are themselves 8e-5 off what they compute.

    Embeddings are rows of the file, times the square root of their width.
    """
    config = read_json(folder / "config.json")
    grids = [config.pop(key, None) for key in ("quantization", "quantization_config")]
    tensors = PackedFile(folder / "model.safetensors", next(filter(None, grids))["bits"],
                         torch.float64)
    with torch.device("meta"):
        encoder = Gemma2Model(Gemma2Config(attn_implementation="eager", **config))
    encoder.embed_tokens = Rows(tensors, "embed_tokens", encoder.config.hidden_size**0.5)
    encoder.rotary_emb = type(encoder.rotary_emb)(encoder.config)
    return stream(encoder, ("layers",), tensors)
