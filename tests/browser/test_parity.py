"""Whole pictures: WebGPU in Chromium against diffusers in float32, stage by stage.

A failure names the first stage that differs, its relative error and its worst element. With
PARITY_TABLE=FILE in the environment the table that ends the run is written there too.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.packing.formats import pack_words, quantize_affine
from tests.closeness import psnr
from tests.reference import encode_prompt, reference, site_text_encoder

MODELS = Path(__file__).resolve().parents[2] / "models"
PROMPTS = {
    "english": "an old pine in the snow",
    "caption": "a red maple bonsai in a round blue pot at night, snow falling",
    "chinese": "雪中的一棵小松树，旁边有一只红狐狸",
    "emoji": "🦊 under a 🌲, it's snowing ❄️ 👩‍👩‍👧",
    "empty": "",
    "overlong": "a quiet garden with a stone lantern and two juniper trees, " * 40,
}


@dataclass(frozen=True)
class Case:
    shape: str
    variant: str
    layout: str
    prompt: str
    seed: int
    width: int
    height: int
    steps: int

    @property
    def id(self):
        return (f"{self.shape}-{self.variant}-{self.layout}-{self.width}x{self.height}"
                f"-{self.steps}-{self.prompt}")


CASES = [Case(*row) for row in [
    ("shallow", "ternary", "unpacked", "english", 0, 64, 48, 1),
    ("shallow", "ternary", "mlx", "chinese", 7, 48, 48, 4),
    ("shallow", "binary", "unpacked", "overlong", 2**32, 40, 96, 2),
    ("shallow", "binary", "mlx", "emoji", 2**53 - 1, 96, 48, 2),
    ("uneven", "ternary", "unpacked", "emoji", 3, 64, 64, 2),
    ("uneven", "ternary", "mlx", "overlong", 2**32 + 5, 48, 32, 8),
    ("uneven", "binary", "unpacked", "empty", 11, 80, 112, 1),
    ("uneven", "binary", "mlx", "english", 5, 64, 96, 2),
    ("klein", "ternary", "mlx", "english", 1, 64, 64, 1),
    ("klein", "binary", "unpacked", "overlong", 2, 96, 64, 1),
    ("garden", "ternary", "mlx", "caption", 4, 128, 128, 4),
    ("garden", "binary", "mlx", "caption", 4, 64, 64, 2),
]]

# Relative L2 error against diffusers, f32 on both sides. Most of a velocity's is torch's own: its
# exp is off by a bit in the time embedding's frequencies, which 1000 radians make visible.
LIMITS = {"encoder_rows": 5e-6, "velocity": 3e-5, "latents": 3e-5, "decoded": 6e-5}
NOISE_LIMIT = 1e-6  # absolute: torch's logarithm and sine differ by machine
LEAST_PSNR = 50.0   # dB


@pytest.fixture(scope="module")
def checkpoint(made):
    """checkpoint(shape, variant, layout) -> folder; the shape "garden" is the embedded model."""
    def find(shape, variant, layout):
        garden = MODELS / f"{shape}-{variant}"
        return garden if shape == "garden" else made(shape, variant, layout)

    return find


@pytest.fixture(scope="module")
def draw(gathered):
    """draw(dist, **request) -> a picture with all its tensors."""
    def drawn(dist, **request):
        library, manifest = gathered(dist)
        library.load(manifest)
        got = library.generate(tensors=True, **request)
        assert not library.complaints
        return got

    return drawn


@pytest.fixture(scope="module")
def table(request):
    """Rows of the parity table, printed when the module is done."""
    rows = []
    yield rows
    head = f"{'checkpoint':26} {'size':>9} {'steps':>5} {'prompt':>9} {'velocity':>9} {'PSNR':>7}"
    lines = ["", "parity with diffusers (float32, CPU)", head, *rows]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(*lines, sep="\n")
    if path := os.environ.get("PARITY_TABLE"):
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines[1:]) + "\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_picture_matches_diffusers(case, checkpoint, site, draw, table):
    folder = checkpoint(case.shape, case.variant, case.layout)
    options = {"text_encoder_bits": 16} if case.layout == "unpacked" else {}
    request = {"prompt": PROMPTS[case.prompt], "seed": case.seed, "width": case.width,
               "height": case.height, "steps": case.steps}
    got = draw(site(folder, **options), **request)
    want = reference(folder, **request)

    worst = check_stages(got["seen"], want)
    assert got["tokens"] == want["tokens"]
    assert (got["rgba"][..., 3] == 255).all()
    ratio = psnr(got["rgba"][..., :3], want["picture"])
    size = f"{case.width}x{case.height}"
    name = f"{case.shape} {case.variant} {case.layout}"
    table.append(f"{name:26} {size:>9} {case.steps:5} {case.prompt:>9} {worst:9.1e} {ratio:7.1f}")
    assert ratio >= LEAST_PSNR, f"picture: PSNR {ratio:.1f} dB, at least {LEAST_PSNR} expected"


@pytest.mark.parametrize("bits", [4, 8])
def test_encoder_quantised_at_export(bits, checkpoint, site, draw):
    """The rows are those of the weights that the site stores, whatever the exporter made them."""
    folder = checkpoint("uneven", "ternary", "unpacked")
    dist = site(folder, text_encoder_bits=bits)
    prompt = PROMPTS["english"]
    got = draw(dist, prompt=prompt, width=32, height=32, steps=1)
    want = encode_prompt(folder, prompt, site_text_encoder(folder, dist))
    check("encoder_rows", got["seen"]["encoder_rows"], want, LIMITS["encoder_rows"])


def test_encoder_of_mixed_bits(checkpoint, site, draw, tmp_path):
    """As MLX writes them: an embedding in 8 bits, other groups here, a linear left whole there."""
    folder = shutil.copytree(checkpoint("uneven", "ternary", "unpacked"), tmp_path / "mixed")
    write_mixed(folder / "text_encoder", folder / "text_encoder-mlx-4bit")
    dist = site(folder)
    manifest = json.loads((dist / "model" / "manifest.json").read_text())
    kinds = {(t["storage"], t.get("group")) for name, t in manifest["tensors"].items()
             if name.startswith("text_encoder") and len(t["shape"]) == 2}
    assert kinds == {("affine8", 64), ("affine4", 64), ("affine8", 32), ("bf16", None)}
    prompt = PROMPTS["english"]
    got = draw(dist, prompt=prompt, width=32, height=32, steps=1)
    want = encode_prompt(folder, prompt, site_text_encoder(folder, dist))
    check("encoder_rows", got["seen"]["encoder_rows"], want, LIMITS["encoder_rows"])


def write_mixed(whole, folder):
    """An encoder's folder, quantised by what its modules are."""
    stored, own = {}, {}
    for name, value in load_file(whole / "model.safetensors").items():
        base = name.removesuffix(".weight")
        if value.ndim == 1 or base.endswith("q_proj"):
            stored[name] = value
            continue
        bits = 8 if base.endswith(("embed_tokens", "down_proj")) else 4
        group = 32 if base.endswith("down_proj") else 64
        codes, scales, biases = quantize_affine(value.float().numpy(), bits, group)
        stored[name] = torch.from_numpy(pack_words(codes, bits).astype(np.uint32))
        for part, data in (("scales", scales), ("biases", biases)):
            stored[f"{base}.{part}"] = torch.from_numpy(data).view(torch.bfloat16)
        own |= {base: {"bits": bits, "group_size": group}} if bits == 8 else {}
    folder.mkdir()
    save_file(stored, folder / "model.safetensors")
    config = json.loads((whole / "config.json").read_text())
    quantization = {"bits": 4, "group_size": 64, "mode": "affine"} | own
    (folder / "config.json").write_text(json.dumps(config | {"quantization": quantization}))


def check_stages(got, want):
    """Every stage in the order of drawing; returns the largest relative error of a velocity."""
    np.testing.assert_array_equal(got["token_ids"], want["token_ids"], err_msg="token_ids")
    check("encoder_rows", got["encoder_rows"], want["encoder_rows"], LIMITS["encoder_rows"])
    np.testing.assert_allclose(got["noise"], want["noise"], rtol=0, atol=NOISE_LIMIT,
                               err_msg="noise")
    np.testing.assert_array_equal(got["sigmas"], want["sigmas"], err_msg="sigmas")
    errors = [check(f"velocity.{step}", got[f"velocity.{step}"], velocity, LIMITS["velocity"])
              for step, velocity in enumerate(want["velocity"])]
    check("latents", got["latents"], want["latents"], LIMITS["latents"])
    check("decoded", got["decoded"], want["decoded"], LIMITS["decoded"])
    return max(errors)


def check(stage, got, want, limit):
    assert got.shape == want.shape, f"{stage}: shape {got.shape}, expected {want.shape}"
    difference = np.abs(got.astype(np.float64) - want)
    error = np.linalg.norm(difference) / np.linalg.norm(want)
    at = tuple(map(int, np.unravel_index(difference.argmax(), want.shape)))
    assert error <= limit, (
        f"{stage}: relative error {error:.1e} > {limit:.0e}; worst at {list(at)}: "
        f"got {got[at]:.6g}, want {want[at]:.6g}")
    return error
