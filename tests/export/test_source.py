"""--model ORG/NAME: the real client against a hub of two endpoints on loopback."""

import http.server
import json
import subprocess
import sys
import threading
from urllib.parse import unquote, urlsplit

import pytest

from export.source import needed_files
from tests.export.conftest import ROOT
from tests.export.packed import PackedSite

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES_OF = f"/org/tiny/resolve/{COMMIT}/"
DESCRIPTIONS = {"/api/models/org/tiny", "/api/models/org/tiny/revision/v1",
                f"/api/models/org/tiny/revision/{COMMIT}"}  # fmt: skip


class Hub(http.server.BaseHTTPRequestHandler):
    """What huggingface_hub asks for: a revision's description, its tree, and a commit's files."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        names = [str(f.relative_to(self.server.folder))
                 for f in sorted(self.server.folder.rglob("*")) if f.is_file()]  # fmt: skip
        if path.startswith(FILES_OF):
            name = path.removeprefix(FILES_OF)
            self.server.asked.add(name)
            self.answer((self.server.folder / name).read_bytes())
        elif path in DESCRIPTIONS:
            files = [{"rfilename": name} for name in names]
            self.answer_json({"id": "org/tiny", "sha": COMMIT, "siblings": files})
        elif path == f"/api/models/org/tiny/tree/{COMMIT}":
            self.answer_json([{"type": "file", "path": name, "oid": "0" * 40,
                               "size": (self.server.folder / name).stat().st_size}
                              for name in names])  # fmt: skip
        else:
            code = "RevisionNotFound" if "org/tiny" in path else "RepoNotFound"
            self.answer(b"{}", 404, {"X-Error-Code": code})

    def answer_json(self, value):
        self.answer(json.dumps(value).encode())

    def answer(self, body, status=200, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hash(body) & 0xFFFFFFFF:08x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def hub(mlx, tmp_path):
    """run(*arguments) is build.py in its own process against the hub; hub.asked are the files."""
    for name in ("vocab.json", "tokenizer.json"):
        (mlx / "text_encoder-mlx-4bit" / name).write_text("{}")
    (mlx / "assets").mkdir()
    (mlx / "assets" / "picture.png").write_bytes(b"x")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.folder, server.asked = mlx, set()

    def run(*arguments):
        return subprocess.run(
            [sys.executable, str(ROOT / "build.py"), *map(str, arguments)],
            capture_output=True, text=True, timeout=60,
            env={"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "PATH": "/usr/bin:/bin",
                 "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"},
        )  # fmt: skip

    server.run = run
    threading.Thread(target=server.serve_forever).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("revision", ["", "@v1"])
def test_a_repository_is_downloaded_and_built(hub, tmp_path, revision):
    result = hub.run("--model", f"org/tiny{revision}", "--out", tmp_path / "site")
    assert result.returncode == 0, result.stderr
    manifest = PackedSite(tmp_path / "site").manifest
    assert manifest["name"] == "tiny"
    assert manifest["source"]["repository"] == "org/tiny"
    assert manifest["source"]["revision"] == COMMIT
    assert "\nmodels: [org/tiny]\n---\n" in (tmp_path / "site" / "README.md").read_text()
    assert "transformer-packed-mflux/diffusion_pytorch_model.safetensors" in hub.asked
    assert not hub.asked & {"assets/picture.png", "text_encoder-mlx-4bit/vocab.json"}


@pytest.mark.parametrize(("model", "says"), [
    ("org/tiny@v9", "--model org/tiny@v9: the repository has no such revision"),
    ("org/none", "--model org/none: the repository does not exist"),
])  # fmt: skip
def test_repositories_that_are_not_there(hub, tmp_path, model, says):
    result = hub.run("--model", model, "--out", tmp_path / "site")
    assert result.returncode == 1 and result.stderr.startswith(f"build.py: {says}")
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "site").exists()


@pytest.mark.parametrize("model", ["/nowhere", "nowhere", "a/b/c", "a/b@", "a b/c"])
def test_what_is_no_repository_name(build, tmp_path, model):
    result = build("--model", model, "--out", tmp_path / "site")
    says = f"build.py: --model {model}: no such folder, and not a repository name"
    assert result.status == 1 and result.stderr.startswith(says)


FILES = [
    "model_index.json", "README.md", "LICENSE", "scheduler/scheduler_config.json",
    "tokenizer/tokenizer.json", "tokenizer/vocab.json", "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors", "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors", "text_encoder/config.json",
    "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model.safetensors.index.json",
    "transformer-packed-mflux/config.json", "text_encoder-mlx-4bit/model.safetensors",
    "text_encoder-mlx-4bit/tokenizer.json", "transformer/deep/er.safetensors", "bonsai.gguf",
]  # fmt: skip


@pytest.mark.parametrize(("bits", "encoder"), [
    (None, "text_encoder-mlx-4bit"), (4, "text_encoder-mlx-4bit"), (8, "text_encoder"),
    (16, "text_encoder"),
])  # fmt: skip
def test_needed_files(bits, encoder):
    needed = needed_files(FILES, bits)
    assert {file.split("/")[0] for file in needed if "/" in file} == {
        "scheduler", "tokenizer", "vae", "transformer-packed-mflux", encoder,
    }  # fmt: skip
    assert not set(needed) & {"README.md", "bonsai.gguf", "tokenizer/vocab.json",
                              "text_encoder-mlx-4bit/tokenizer.json"}  # fmt: skip
    assert "LICENSE" in needed
