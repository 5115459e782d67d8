"""diffusers' FLUX.1 of an MLX-packed checkpoint that is too large for memory in float32.

As tests/streamed.py has it: the classes are diffusers' and transformers' own, a block has weights
only while it runs. CLIP is small enough to have its weights at once.
"""

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
)

from tests.reference import read_json
from tests.streamed import PackedFile, Rows, stream


def load_streamed(path):
    """The checkpoint folder as a FluxPipeline in float32."""
    pipeline = FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(path / "scheduler"),
        vae=AutoencoderKL.from_pretrained(path / "vae", torch_dtype=torch.float32),
        text_encoder=load_clip(path / "text_encoder-mlx-4bit"),
        tokenizer=CLIPTokenizer.from_pretrained(path / "tokenizer"),
        text_encoder_2=stream_t5(path / "text_encoder_2-mlx-4bit"),
        tokenizer_2=AutoTokenizer.from_pretrained(path / "tokenizer_2"),
        transformer=stream_transformer(path / "transformer-packed-mflux"),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def stream_transformer(folder):
    bits = read_json(folder / "quantization_config.json")["bits"]
    with torch.device("meta"):
        transformer = FluxTransformer2DModel.from_config(FluxTransformer2DModel.load_config(folder))
    tensors = PackedFile(folder / "diffusion_pytorch_model.safetensors", bits)
    return stream(transformer, ("transformer_blocks", "single_transformer_blocks"), tensors)


def load_clip(folder):
    config, tensors = packed_encoder(folder)
    clip = CLIPTextModel(CLIPTextConfig(**config))
    clip.load_state_dict(tensors.under(""))
    return clip.eval()


def stream_t5(folder):
    """Embeddings are rows of the file."""
    config, tensors = packed_encoder(folder)
    with torch.device("meta"):
        encoder = T5EncoderModel(T5Config(**config))
    encoder.set_input_embeddings(Rows(tensors, "shared"))
    return stream(encoder, ("encoder.block",), tensors)


def packed_encoder(folder):
    """(its configuration, its tensors)."""
    config = read_json(folder / "config.json")
    return config, PackedFile(folder / "model.safetensors", config.pop("quantization")["bits"])
