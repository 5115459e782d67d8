"""Garden wholly through onnxruntime: the build, the command that draws, the example in docs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from build import main
from tests.closeness import psnr
from tests.reference import reference

ROOT = Path(__file__).resolve().parents[2]
GARDEN = ROOT / "models" / "garden-ternary"
PROMPT = "a red maple bonsai in a round blue pot at night, snow falling"
LEAST_PSNR = 45.0  # dB
DRAW = """
import sys
from export import onnx_run
status = onnx_run.main(sys.argv[1:])
heavy = {"torch", "transformers", "diffusers", "onnx"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else status)
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of `build.py --onnx-only` with Garden in it."""
    out = tmp_path_factory.mktemp("garden") / "dist"
    assert main(["--onnx-only", "--out", str(out)]) == 0
    return out


def run(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True,
                          text=True, timeout=300)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_command_draws_diffusers_picture(built, tmp_path, precision):
    out = tmp_path / "picture.png"
    drawn = run("-c", DRAW, built, "--prompt", PROMPT, "--seed", 7, "--out", out, "--width", 96,
                "--height", 128, "--steps", 3, "--precision", precision)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.startswith(f"{out}: 96 x 128, ")
    want = reference(GARDEN, PROMPT, 7, 96, 128, 3)["picture"]
    assert psnr(np.asarray(Image.open(out)), want) >= LEAST_PSNR


def test_the_example_of_the_document(built, tmp_path):
    text = (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "dist").symlink_to(built)
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    drawn = run("-c", path + example, cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    prompt = re.search(r'tokens\("(.*?)"\)', example)[1]
    want = reference(GARDEN, prompt, 7, 128, 128, 4)["picture"]
    assert psnr(np.asarray(Image.open(tmp_path / "picture.png")), want) >= LEAST_PSNR


@pytest.mark.parametrize(("options", "complaint"), [
    (["--width", "100"], "--width 100: expected a multiple of 16"),
    (["--height", "-16"], "--height -16: expected a multiple of 16"),
    (["--steps", "0"], "--steps 0: expected 1 or more"),
])
def test_what_cannot_be_drawn(built, capsys, options, complaint):
    from export import onnx_run

    assert onnx_run.main([str(built), "--prompt", "x", *options]) == 1
    assert capsys.readouterr().err == f"onnx_run: {complaint}\n"


def test_a_folder_without_a_bundle(tmp_path, capsys):
    from export import onnx_run

    assert onnx_run.main([str(tmp_path), "--prompt", "x"]) == 1
    assert "no ONNX bundle; write one: python build.py --onnx" in capsys.readouterr().err


def test_names_and_metadata(built):
    bundle = built / "onnx"
    assert sorted(path.name for path in built.iterdir()) == ["onnx"]
    assert json.loads((bundle / "model_index.json").read_text())["transformer"]
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (bundle / file).read_bytes() == (bundle / "tokenizer" / file).read_bytes()
    for part in ("text_encoder", "transformer", "vae_decoder"):
        config = json.loads((bundle / part / "config.json").read_text())
        declared = config["transformers.js_config"]["use_external_data_format"]
        assert declared == {"model.onnx": 1, "model_fp16.onnx": 1}
        for file, half in (("model.onnx", "fp32"), ("model_fp16.onnx", "fp16")):
            model = onnx.load(bundle / part / file, load_external_data=False)
            properties = {entry.key: entry.value for entry in model.metadata_props}
            assert properties["component"] == part and properties["precision"] == half
            places = {e.value for t in model.graph.initializer for e in t.external_data
                      if e.key == "location"}
            assert places == {f"{file}_data"}
    assert (bundle / "LICENSE").read_bytes() == (GARDEN / "LICENSE").read_bytes()


def test_the_site_with_the_bundle(built, tmp_path, capsys):
    """--onnx adds the same bytes to a site, and the summary tells the sizes."""
    assert main(["--onnx", "--out", str(tmp_path / "dist")]) == 0
    summary = capsys.readouterr().out
    assert (tmp_path / "dist" / "index.html").exists()
    for path in sorted(p for p in built.rglob("*") if p.is_file()):
        assert (tmp_path / "dist" / path.relative_to(built)).read_bytes() == path.read_bytes()
    for part in ("text_encoder", "transformer", "vae_decoder"):
        for file in ("model.onnx", "model_fp16.onnx"):
            files = (built / "onnx" / part).glob(f"{file}*")
            assert f"{sum(path.stat().st_size for path in files):,}" in summary
