"""The layouts in which Sana is published: the same bytes of one model, or exactly its weights."""

import numpy as np
import pytest

from tests.export.packed import PackedSite
from tests.fullscale.layouts import write
from tests.fullscale.model import Model
from tests.fullscale.sana import SANA, SPRINT

TO_V, POINT, DEPTH = (f"transformer_blocks.1.{name}.weight"
                      for name in ("attn1.to_v", "ff.conv_point", "ff.conv_depth"))


def built(build, model, layout, folder):
    write(model, layout, folder / layout, "mlx")
    result = build("--model", folder / layout, "--out", folder / f"{layout}-site")
    assert result.status == 0, result.stderr
    site = PackedSite(folder / f"{layout}-site")
    site.check_shards()
    return site


def shards(site):
    return [s["sha256"] for s in site.manifest["shards"] if s["component"] == "transformer"]


@pytest.mark.parametrize("variant", ["ternary", "binary"])
@pytest.mark.parametrize("family", [SANA, SPRINT], ids=["sana", "sprint"])
def test_packed_and_unpacked_are_the_same_bytes(build, tmp_path, family, variant):
    model = Model("tiny", variant, family)
    mlx, unpacked = (built(build, model, layout, tmp_path) for layout in ("mlx", "unpacked"))
    assert mlx.manifest["variant"] == variant and shards(mlx) == shards(unpacked)
    for name in (TO_V, POINT):
        entry = mlx.manifest["tensors"][f"transformer.{name}"]
        assert (entry["storage"], entry["group"], entry["scales_dtype"]) == (variant, 112, "bf16")
        codes, scales = model.lowbit(name)
        values = (codes.astype(int) - 1) if variant == "ternary" else 2 * codes.astype(int) - 1
        want = values * np.repeat(scales.astype(float), 112, axis=1)
        assert (mlx.weight(f"transformer.{name}") == want).all()


def test_clark_airs_own_file(build, tmp_path):
    """Codes are the model's; scales have more digits than 16 bits, what is beside them has fewer"""
    model = Model("tiny", "ternary", SANA)
    site = built(build, model, "codes2b", tmp_path)
    assert site.manifest["source"]["layout"] == "codes2b"
    for name in (TO_V, POINT):
        codes, scales = model.lowbit(name)
        assert (site.codes(f"transformer.{name}") == codes).all()
        scales = np.repeat(np.nextafter(scales, np.float32(2)), 112, axis=1)
        assert (site.groups(f"transformer.{name}", "scales") == scales).all()
    depth = site.weight(f"transformer.{DEPTH}")  # [3, 3, channels]
    want = np.concatenate(list(model.floats(DEPTH, model.transformer[DEPTH])))
    want = (want.astype("<u4") << 16).view("<f4")[:, 0].transpose(1, 2, 0)
    assert np.abs(depth - want).max() <= 2.0**-4 * np.abs(want).max()
