"""build.py as a user runs it: what lies in dist/ afterwards, and what is exactly the same."""

import json
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest

from export.site.code import find_code
from export.source.safetensors import Checkpoint
from tests.export.conftest import ROOT
from tests.export.packed import PackedSite
from tests.export.tiny import CALL, Tiny, as_float, load


def files(folder):
    """Relative path -> bytes of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


STORED = {"BF16": "bf16", "F16": "f16", "F32": "bf16"}  # which holds the tiny model's values


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("layout", ["mlx", "unpacked"])
@pytest.mark.parametrize("variant", ["ternary", "binary"])
def test_weights_arrive_exactly(build, tmp_path, variant, layout, dtype):
    tiny = Tiny(variant, dtype)
    folder = tiny.write(tmp_path / "tiny", layout)
    result = build("--model", folder, "--out", tmp_path / "site", "--text-encoder-bits",
                   4 if layout == "mlx" else 16)
    assert result.status == 0, result.stderr
    site = PackedSite(tmp_path / "site")
    site.check_shards()
    assert site.manifest["variant"] == variant
    for name, weights in tiny.weights.items():
        entry = site.manifest["tensors"][f"transformer.{name}.weight"]
        assert entry["storage"] == variant and entry["group"] == 128
        assert entry["scales_dtype"] == STORED[dtype]
        assert (site.weight(f"transformer.{name}.weight") == weights).all(), name
    dense = {f"transformer.{name}": tensor for name, tensor in tiny.transformer.items()}
    dense |= {f"autoencoder.{name}": tensor for name, tensor in tiny.autoencoder.items()
              if f"autoencoder.{name}" in site.manifest["tensors"]}
    if layout == "unpacked":
        dense |= {f"text_encoder.{name}": tensor for name, tensor in tiny.text_encoder.items()
                  if not name.startswith(("layers.2.", "norm."))}
    for name, (source_dtype, stored) in dense.items():
        assert site.manifest["tensors"][name]["storage"] == STORED[source_dtype]
        if stored.ndim == 4:
            stored = stored.transpose(0, 2, 3, 1)
        assert site.manifest["tensors"][name]["shape"] == list(stored.shape)
        assert (site.weight(name) == as_float(stored, source_dtype)).all(), name


def test_only_what_runs_is_packed(build, mlx, tmp_path):
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    names = PackedSite(tmp_path / "site").manifest["tensors"].keys()
    text = {name.split(".")[2] for name in names if name.startswith("text_encoder.layers.")}
    assert text == {"0", "1"}  # the last of the states 1 and 2 that are read
    dropped = ("text_encoder.norm", "text_encoder.lm_head", "autoencoder.encoder",
               "autoencoder.quant_conv", "autoencoder.bn.num_batches")
    assert not [name for name in names if name.startswith(dropped)]


def test_a_quantised_text_encoder_is_passed_through(build, mlx, tmp_path):
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    site = PackedSite(tmp_path / "site")
    source = load(mlx / "text_encoder-mlx-4bit" / "model.safetensors")
    name = "layers.1.mlp.down_proj"
    entry = site.manifest["tensors"][f"text_encoder.{name}.weight"]
    assert (entry["storage"], entry["group"], entry["shape"]) == ("affine4", 64, [64, 128])
    for part, source_part in (("codes", "weight"), ("scales", "scales"), ("biases", "biases")):
        want = source[f"model.{name}.{source_part}"][1].tobytes()
        assert site.part(f"text_encoder.{name}.weight", part) == want


@pytest.mark.parametrize(("bits", "storage"), [(None, "affine4"), (8, "affine8"), (16, "bf16")])
def test_text_encoder_bits(build, unpacked, tmp_path, bits, storage):
    options = ["--text-encoder-bits", bits] if bits else []
    assert build("--model", unpacked, "--out", tmp_path / "site", *options).status == 0
    site = PackedSite(tmp_path / "site")
    name = "text_encoder.layers.0.self_attn.q_proj.weight"
    assert site.manifest["tensors"][name]["storage"] == storage
    norm = site.manifest["tensors"]["text_encoder.layers.0.input_layernorm.weight"]
    assert norm["storage"] == "bf16"
    dtype, stored = Tiny().text_encoder[name.removeprefix("text_encoder.")]
    step = {None: 1 / 15, 8: 1 / 255, 16: 0}[bits]
    assert np.abs(site.weight(name) - as_float(stored, dtype)).max() <= 0.55 * step


def test_the_same_input_gives_the_same_bytes(build, mlx, tmp_path):
    for out in ("one", "two"):
        assert build("--model", mlx, "--out", tmp_path / out, "--shard-mib", 0.125).status == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_small_shards_hold_the_same_weights(build, mlx, tmp_path):
    assert build("--model", mlx, "--out", tmp_path / "big").status == 0
    assert build("--model", mlx, "--out", tmp_path / "small", "--shard-mib", 0.01).status == 0
    big, small = PackedSite(tmp_path / "big"), PackedSite(tmp_path / "small")
    small.check_shards(int(0.01 * (1 << 20)))
    assert len(small.shards) > 3 * len(big.shards)
    for name in big.manifest["tensors"]:
        assert (big.weight(name) == small.weight(name)).all()


def test_the_site_is_complete(build, mlx, tmp_path):
    (mlx / "LICENSE").write_text("the model's licence")
    (mlx / "NOTICE.md").write_text("the model's notice")
    result = build("--model", mlx, "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    site, code = files(tmp_path / "site"), find_code(tmp_path / "site")
    for path in (ROOT / "web").rglob("*"):
        relative = path.relative_to(ROOT / "web")
        if str(relative) in ("start.js", "thumbnail.jpg"):
            assert site[str(relative)] == path.read_bytes()
        elif str(relative) == "types/trefoil.d.ts":
            assert site["trefoil.d.ts"] == path.read_bytes()
        elif path.name.endswith(".d.ts"):  # types of others: no browser reads them
            assert f"{code}/{relative}" not in site
        elif path.is_file() and relative.parts[0] not in ("pages", "sw.js"):
            assert site[f"{code}/{relative}"] == path.read_bytes()
    assert f"export * from './{code}/trefoil.js';" in site["trefoil.js"].decode()
    assert site["sw.js"].endswith((ROOT / "web" / "sw.js").read_bytes())
    kernels = {f"{code}/wgsl/{path.relative_to(ROOT / 'wgsl').as_posix()}": path.read_bytes()
               for pattern in ("*.wgsl", "parts/*.wgsl") for path in (ROOT / "wgsl").glob(pattern)}
    assert {name: site[name] for name in site if name.startswith(f"{code}/wgsl/")} == kernels
    assert json.loads(site["model/tokenizer.json"])["model"]["vocab"]["a"] == 0
    assert site["README.md"].startswith(b"---\ntitle: ") and b"\nsdk: static\n" in site["README.md"]
    assert b"immutable" in site["_headers"] and site[".nojekyll"] == b""
    assert b"Apache License" in site["LICENSE"]
    assert site["model/LICENSE"] == b"the model's licence"
    assert site["model/NOTICE.md"] == b"the model's notice"
    page = site["index.html"].decode()
    assert "{{" not in page and "{%" not in page and 'value="32"' in page and "a pine" in page
    manifest = PackedSite(tmp_path / "site").manifest
    guidance = manifest["pipeline"].pop("guidance")
    assert guidance["kind"] == "none" and manifest["pipeline"] == CALL
    total = sum(s["bytes"] for s in manifest["shards"])
    assert f"{sum(c['packed_bytes'] for c in manifest['components'].values()):,}" in result.stdout
    assert total >= sum(c["packed_bytes"] for c in manifest["components"].values())


def test_the_embedded_model_builds(build, tmp_path):
    result = build("--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    site = PackedSite(tmp_path / "site")
    site.check_shards()
    assert site.manifest["name"] == "garden-ternary" and site.manifest["variant"] == "ternary"
    assert "garden-ternary" in result.stdout


def test_a_dry_run_writes_nothing(build, mlx, tmp_path):
    before = files(tmp_path)
    result = build("--model", mlx, "--dry-run", "--out", tmp_path / "site")
    assert result.status == 0, result.stderr
    assert files(tmp_path) == before and not (tmp_path / "site").exists()
    for text in ("ternary", "affine4", "bits per weight", "32 x 24", "64 x 64", "GPU memory",
                 "drawing needs only the decoder"):
        assert text in result.stdout


@pytest.mark.parametrize("layout", ["mlx", "unpacked"])
def test_a_dry_run_foretells_the_sizes(build, tmp_path, layout):
    folder = Tiny().write(tmp_path / "tiny", layout)
    dry = build("--model", folder, "--dry-run").stdout.split("\n\n")
    wet = build("--model", folder, "--out", tmp_path / "site").stdout.split("\n\n")
    assert dry[:2] == wet[:2]


def test_no_torch_on_the_way(mlx, tmp_path):
    script = (
        "import sys; sys.argv[0] = 'build.py'\nimport build\n"
        f"assert build.main(['--model', {str(mlx)!r}, '--out', {str(tmp_path / 'site')!r}]) == 0\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'safetensors'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)


def test_one_tensor_in_memory_at_a_time(build, unpacked, tmp_path, monkeypatch):
    live, most = {}, []
    read = Checkpoint.read

    def watched(self, name, *rows):
        tensor = read(self, name, *rows)
        owner = tensor.data if tensor.data.base is None else tensor.data.base
        live[len(live)] = (name, weakref.ref(owner))
        most.append({name for name, array in live.values() if array() is not None})
        return tensor

    monkeypatch.setattr(Checkpoint, "read", watched)
    assert build("--model", unpacked, "--out", tmp_path / "site").status == 0
    assert len(most) > 50 and all(len(names) == 1 for names in most)


PAUSED_BUILD = """
import signal, sys, time, build
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
from export.packing.shards import ShardWriter
finish = ShardWriter.finish
def pause(self):
    finish(self)
    if self.shards:
        print("a shard is written", flush=True)
        time.sleep(60)
ShardWriter.finish = pause
sys.exit(build.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "status"), [
    (signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 1), (signal.SIGINT, 1),
])
def test_an_interrupted_run_leaves_the_old_site(build, mlx, tmp_path, number, status):
    out = tmp_path / "site"
    arguments = ["--model", str(mlx), "--out", str(out)]
    assert build(*arguments).status == 0
    old = files(out)
    process = subprocess.Popen(
        [sys.executable, "-c", PAUSED_BUILD, *arguments, "--shard-mib", "0.01"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert process.stdout.readline() == "a shard is written\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == status, errors
    assert ("interrupted" in errors) == (status == 1)
    assert files(out) == old
    assert build(*arguments).status == 0
    assert files(out) == old
    assert [path.name for path in tmp_path.glob(".*")] == [".site.built"]


def test_a_run_killed_while_renaming_is_made_good(build, mlx, tmp_path):
    out = tmp_path / "site"
    assert build("--model", mlx, "--out", out).status == 0
    old = files(out)
    out.rename(tmp_path / ".site.previous")
    assert build("--model", tmp_path / "nothing", "--out", out).status == 1
    assert build("--model", mlx, "--out", out).status == 0
    assert files(out) == old and [p.name for p in tmp_path.glob(".*")] == [".site.built"]


def test_a_second_run_does_no_work(build, mlx, tmp_path, monkeypatch):
    out, arguments = tmp_path / "site", ["--model", mlx, "--out", tmp_path / "site"]
    assert "MB/s of the source" in build(*arguments).stdout
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "read", None)
        result = build(*arguments)
    assert result.status == 0 and "nothing to do" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("change", ["source", "option", "site"])
def test_a_change_is_built(build, mlx, tmp_path, change):
    out, arguments = tmp_path / "site", ["--model", mlx, "--out", tmp_path / "site"]
    assert build(*arguments).status == 0
    old = files(out)
    if change == "source":
        (mlx / "trefoil.json").write_text(json.dumps(CALL | {"num_inference_steps": 7}))
    if change == "option":
        arguments += ["--shard-mib", 0.01]
    if change == "site":
        next((out / "model").glob("*.bin")).unlink()
    result = build(*arguments)
    assert result.status == 0 and "nothing to do" not in result.stdout
    assert (files(out) == old) == (change == "site")


def test_manifest_is_plain_json(build, mlx, tmp_path):
    assert build("--model", mlx, "--out", tmp_path / "site").status == 0
    text = (tmp_path / "site" / "model" / "manifest.json").read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(text, parse_constant=refuse)
