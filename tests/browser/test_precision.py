"""Less exact kernels, and residual streams as large as a published model's late blocks have."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.closeness import psnr

GARDEN = Path(__file__).resolve().parents[2] / "models" / "garden-ternary"
REQUEST = {"prompt": "a red maple bonsai in a round blue pot", "seed": 7, "width": 64, "height": 64,
           "steps": 2}
RESIDUAL = 4e4  # of FLUX.2 Klein's last blocks
LEAST_PSNR = {"f32": 50.0, "int8": 30.0}


@pytest.fixture(scope="module")
def draw(gathered, site):
    """draw(model folder, precision) -> the picture with every block, and the pipeline's info."""
    drawn = {}

    def once(folder, precision):
        if (folder, precision) not in drawn:
            library, manifest = gathered(site(folder))
            info = library.load(manifest, precision=precision)
            picture = library.generate(tensors=True, blocks=True, **REQUEST)
            assert library.complaints == []
            drawn[folder, precision] = picture, info
        return drawn[folder, precision]

    return once


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """Garden with the residual stream scaled, which its norms take out again."""
    folder = tmp_path_factory.mktemp("loud") / "garden"
    shutil.copytree(GARDEN, folder)
    weights = folder / "transformer-packed-mflux" / "diffusion_pytorch_model.safetensors"
    scaled = {name: scale_residual(name, tensor) for name, tensor in load_file(weights).items()}
    save_file(scaled, weights)
    return folder


def scale_residual(name, tensor, factor=2.0**12):
    """What is added to the stream, `factor` times as large: the embedders, and a block's gates."""
    if name in ("x_embedder.weight", "context_embedder.weight"):
        return (tensor.float() * factor).to(tensor.dtype)
    if "modulation" not in name:
        return tensor
    parts = tensor.float().unflatten(0, (-1, 3, tensor.shape[0] // (6 if "double" in name else 3)))
    parts[:, 2] *= factor  # shift, scale, gate
    return parts.flatten(0, 2).to(tensor.dtype)


def test_bytes_draw_garden_too(draw):
    exact, _ = draw(GARDEN, "f32")
    coarse, info = draw(GARDEN, "int8")
    assert "linear_packed_int8" in {row["kernel"] for row in info["kernels"]}
    assert LEAST_PSNR["int8"] <= psnr(coarse["rgba"], exact["rgba"]) < np.inf


@pytest.mark.parametrize("precision", LEAST_PSNR)
def test_residuals_of_forty_thousand(draw, loud, precision):
    picture, _ = draw(loud, precision)
    largest = max(np.abs(x).max() for name, x in picture["seen"].items() if "block." in name)
    assert largest > RESIDUAL
    assert psnr(picture["rgba"], draw(GARDEN, precision)[0]["rgba"]) >= LEAST_PSNR[precision]


def test_every_op_says_why_its_kernel_was_chosen(draw):
    _, info = draw(GARDEN, "f32")
    assert {"op", "kernel", "precision", "reason"} <= info["kernels"][0].keys()
    assert {row["precision"] for row in info["kernels"]} == {"f32"}
    assert all(row["refused"] == {} for row in info["kernels"])
