"""The documents' commands and examples, run as they stand: a block that nothing runs has a reason.

Garden takes the place of models to be named, and hubs on loopback that of Hugging Face.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.export.hub import hub_of
from tests.export.hub_writes import TOKEN, writable_hub

ROOT = Path(__file__).resolve().parents[2]
GARDEN = ROOT / "models" / "garden-binary"
DOCUMENTS = ["README.md", *sorted(
    str(path.relative_to(ROOT))
    for pattern in ("docs/*.md", "train/*/README.md", "models/*/README.md")
    for path in ROOT.glob(pattern))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LEFT = {  # beginnings of commands that are not run here, and why
    "python -m tests": "it runs this",
    "python -m export.onnx_run dist": "tests/onnx/test_garden.py draws with it",
    "python -m train.ternarize": "tests/ternarize runs it, with settings of minutes",
    "torchrun": "tests/ternarize/test_processes.py runs it",
}
LEFT_LANGUAGES = {
    "python": "tests/onnx/test_garden.py runs the example",
    "nginx": "a stranger's server",
}


def blocks(language, documents=DOCUMENTS):
    """The texts of a language's blocks in the documents."""
    return [text for document in documents
            for found, text in BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
            if found == language]


def commands():
    """The lines of blocks without a language or of the shell, less what explains them."""
    lines = [line for language in ("", "sh") for text in blocks(language)
             for line in text.splitlines()]
    return list(dict.fromkeys(re.split(r"\s{2,}", line)[0] for line in lines if line[:1].strip()))


def shell(command):
    """The command with one name of the interpreter."""
    return re.sub(r"^python3 ", "python ", command)


def meant(command):
    """The command with a model in the place of the words that stand for a folder."""
    words = {"DIR": "models/garden-binary", "STUDENT": "models/garden-binary"}
    return " ".join(words.get(word, word) for word in shell(command).split())


def left_out(command):
    return any(shell(command).startswith(beginning) for beginning in LEFT)


@pytest.fixture
def here(tmp_path):
    """A folder like a fresh clone's, in which commands write."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "models").symlink_to(ROOT / "models")
    return tmp_path / "clone"


def words_of(command, **meant):
    """The command for subprocess; `meant` are the words that stand for something."""
    words = [str(meant.get(word, word)) for word in command.split()]
    assert words[:2] == ["python", "build.py"], command
    return [sys.executable, str(ROOT / "build.py"), *words[2:]]


def build(here, words, **environment):
    done = subprocess.run(words, cwd=here, capture_output=True, text=True,
                          env=os.environ | environment)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_build(here, command):
    build(here, words_of(command))
    assert (here / "dist" / "index.html").exists()
    assert (here / "dist" / "model" / "manifest.json").exists()


def run_onnx(here, command):
    build(here, words_of(command))
    assert (here / "dist" / "onnx" / "transformer" / "model.onnx").exists()


def run_dry(here, command):
    told = build(here, words_of(command))
    assert "128" in told and os.listdir(here) == ["models"]


def run_file(here, command):
    """FILE: the transformer of a folder, beside the other parts or, with a base, alone."""
    folder = shutil.copytree(GARDEN, here / "single")
    place = folder / "transformer-packed-mflux"
    weights = (place / "diffusion_pytorch_model.safetensors").rename(folder / "one.safetensors")
    shutil.rmtree(place)
    if "--base" in command:
        weights = weights.rename(here / "alone.safetensors")
    build(here, words_of(command, FILE=weights))
    assert (here / "dist" / "index.html").exists()


def run_repository(here, command):
    with hub_of(GARDEN, here / "hf") as hub:
        words = words_of(command, **{"ORG/NAME[@REV]": "org/tiny@v1", "ORG/NAME": "org/tiny"})
        done = hub.build(*words[2:], "--out", here / "dist")
    assert done.returncode == 0, done.stderr
    assert (here / "dist" / "index.html").exists()


def run_publish(here, command):
    with writable_hub() as hub:
        words = words_of(command, **{"USER/SPACE": "me/space", "USER/MODEL": "me/weights"})
        told = build(here, words, HF_ENDPOINT=hub.url, HF_TOKEN=TOKEN, HF_HUB_DISABLE_XET="1",
                     HF_HOME=str(here / "hf"))
        there = {name for _, name in hub.repositories}
    assert "me/space" in told and "me/weights" in told
    assert there == (set() if "--dry-run" in command else {"me/space", "me/weights"})


def run_serve(here, command):
    """At a port that is free, not at 8000."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    serving = subprocess.Popen([*words_of(command), port], cwd=here, text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        assert any(f"http://localhost:{port}" in line for line in serving.stderr)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            assert b"<!doctype html>" in answer.read().lower()
    finally:
        serving.terminate()
        serving.wait()
        serving.stderr.close()


def run_export(here, command):
    """Sets the token of the commands that follow, which run_publish gives them."""
    assert re.fullmatch(r"export HF_TOKEN=\S+", command)


RUNS = {  # by the beginning of a command, the first that fits
    "export HF_TOKEN": run_export,
    "python build.py --serve": run_serve,
    "python build.py --dry-run": run_dry,
    "python build.py --publish": run_publish,
    "python build.py --onnx": run_onnx,
    "python build.py --model FILE": run_file,
    "python build.py --model ORG/NAME": run_repository,
    "python build.py": run_build,
}


@pytest.mark.parametrize("command", dict.fromkeys(
    meant(one) for one in commands() if not left_out(one)))
def test_a_command(here, command):
    runs = [run for beginning, run in RUNS.items() if command.startswith(beginning)]
    assert runs, f"no test runs {command!r}: add it to RUNS, or to LEFT with the reason"
    runs[0](here, command)


def test_every_block_has_a_language_that_is_known():
    known = {"", "sh", "js", *LEFT_LANGUAGES}
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        assert {language for language, _ in BLOCK.findall(text)} <= known, document
        assert text.count("\n```") == 2 * len(BLOCK.findall(text)), f"{document}: an open block"
    assert len(blocks("python")) == 1, "tests/onnx/test_garden.py runs one"
    for beginning in (*LEFT, *RUNS):
        assert any(shell(one).startswith(beginning) for one in commands()), f"{beginning}: gone"


EXAMPLES = {  # document: what is looked at behind its examples, and what it is
    "README.md": (
        "{ ok: device.ok, width: picture.width, height: picture.height, "
        "bytes: picture.rgba.length, seed: picture.seed }",
        {"ok": True, "width": 128, "height": 128, "bytes": 4 * 128 * 128, "seed": 7}),
    "docs/library.md": (
        "{ picture: [picture.width, picture.height], changed: [changed.width, changed.height], "
        "kept: await storedBytes('./model/manifest.json') }",
        {"picture": [128, 128], "changed": [128, 128],
         "kept": {"bytes": 0, "files": 0, "kind": None}}),
}


def test_every_example_in_javascript_is_run():
    assert {document for document in DOCUMENTS if blocks("js", [document])} == {*EXAMPLES}


@pytest.mark.parametrize("document", EXAMPLES)
def test_examples_in_javascript(browser, site, server, document):
    """A document's blocks, one after the other: a module of a page beside trefoil.js."""
    looked_at, want = EXAMPLES[document]
    url = server(site(ROOT / "models" / "garden-ternary", with_image_input=True))
    module = "\n".join([*blocks("js", [document]), f"globalThis.made = {looked_at};"])
    with browser.new_context() as context:
        page, failed = context.new_page(), []
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.add_init_script("addEventListener('unhandledrejection', () => { made = 'failed'; });"
                             "addEventListener('error', () => { made = 'failed'; });")
        page.route(f"{url}readme.html", lambda route: route.fulfill(
            body=f'<!doctype html><script type="module">{module}</script>',
            content_type="text/html"))
        page.goto(f"{url}readme.html")
        page.wait_for_function("globalThis.made")
        assert failed == [] and page.evaluate("made") == want
