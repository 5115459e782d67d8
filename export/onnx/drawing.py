"""Draws from an ONNX bundle with onnxruntime on the CPU: diffusers' picture of the same seed.

Of the stages one is in memory at a time. B = 1 picture, S text and L image tokens, C channels.
"""

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from export.errors import ExportError
from export.onnx.call import MARK, read_call
from export.prompts.tokenizer import read_tokenizer
from export.samplers.flow_euler import sigmas
from export.samplers.noise import torch_randn
from export.source.configuration import read_json

GRAPHS = {"fp32": "model.onnx", "fp16": "model_fp16.onnx"}
f32 = np.float32


class Bundle:
    """What stands around the graphs, read and checked. Raises ExportError for another folder."""

    def __init__(self, folder, precision="fp32", threads=0):
        """folder: the bundle, or a site with onnx/ in it; threads: 0 for one a core."""
        self.folder = folder / "onnx" if (folder / "onnx" / MARK).exists() else folder
        if not (self.folder / MARK).exists():
            raise ExportError(f"{folder}: no ONNX bundle; write one: python build.py --onnx")
        self.call = read_call(self.folder / MARK)
        latents = self.call["latents"]
        self.channels, self.pixels = latents["channels"], latents["pixels"]
        self.scheduler = read_json(self.folder / "scheduler" / "scheduler_config.json")
        self.file, self.threads = GRAPHS[precision], threads

    def draw(self, prompt, seed, width=None, height=None, steps=None, tell=lambda line: None):
        """u8 [H, W, 3]. Sizes and steps are the model's own by default."""
        given = {"width": width, "height": height, "num_inference_steps": steps}
        width, height, steps = (
            self.call[key] if value is None else value for key, value in given.items()
        )
        self.check(width, height, steps)
        tell("encoding the prompt")
        context = self.encode(prompt)
        latents = self.denoise(context, seed, width, height, steps, tell)
        tell("decoding")
        return to_rgb(self.decode(latents))

    def check(self, width, height, steps):
        for name, side in (("width", width), ("height", height)):
            if side < self.pixels or side % self.pixels:
                raise ExportError(f"--{name} {side}: expected a multiple of {self.pixels}")
        if steps < 1:
            raise ExportError(f"--steps {steps}: expected 1 or more")

    def encode(self, prompt):
        """f32 [1, S, taps * D]: rows of the padded prompt."""
        ids, mask = self.tokens(prompt)
        feed = {"input_ids": ids[None], "attention_mask": mask[None]}
        return self.run("text_encoder", feed)

    def tokens(self, prompt):
        """ids and mask, i64 [S]: the prompt in its template, cut and padded at the end."""
        own = read_tokenizer(self.folder / "tokenizer")
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer" / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        length = self.call["max_sequence_length"]
        ids = tokenizer.encode(own.prefix + prompt + own.suffix).ids[:length]
        missing = length - len(ids)
        mask = [1] * len(ids) + [0] * missing
        return np.array(ids + [own.pad_token_id] * missing), np.array(mask)

    def denoise(self, context, seed, width, height, steps, tell):
        """f32 [1, C, h, w] after all steps of the sampler."""
        rows, columns, channels = height // self.pixels, width // self.pixels, self.channels
        noise = torch_randn(seed, channels * rows * columns).reshape(1, channels, -1)
        latents = np.ascontiguousarray(noise.transpose(0, 2, 1))               # [1, L, C]
        fixed = {
            "encoder_hidden_states": context,
            "txt_ids": token_ids(1, 1, context.shape[1]),
            "img_ids": token_ids(rows, columns, 1),
        }
        session = self.session("transformer")
        noises = sigmas(steps, rows * columns, self.scheduler)
        for step, (sigma, following) in enumerate(zip(noises[:-1], noises[1:], strict=True)):
            tell(f"step {step + 1} of {steps}")
            timestep = np.array([f32(1000) * sigma / f32(1000)])  # as diffusers rounds it
            feed = fixed | {"hidden_states": latents, "timestep": timestep}
            (velocity,) = session.run(None, feed)
            latents = latents + (following - sigma) * velocity
        return latents.transpose(0, 2, 1).reshape(1, channels, rows, columns)

    def decode(self, latents):
        """f32 [H, W, 3], -1 black, 1 white, not clipped."""
        planes = self.run("vae_decoder", {"latent_sample": latents})
        return planes[0].transpose(1, 2, 0)

    def run(self, part, feed):
        (output,) = self.session(part).run(None, feed)
        return output

    def session(self, part):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        path = self.folder / part / self.file
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def token_ids(rows, columns, length):
    """Positions (0, y, x, l) of tokens, i64 [1, rows * columns * length, 4]."""
    grid = np.indices((1, rows, columns, length))
    return np.ascontiguousarray(grid.reshape(1, 4, -1).transpose(0, 2, 1))


def to_rgb(decoded):
    """Clipped and rounded to u8 as diffusers does."""
    return (np.clip(decoded / f32(2) + f32(0.5), 0, 1) * 255).round().astype(np.uint8)
