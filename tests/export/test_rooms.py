"""Which room of the page, and of the exporter, may reach into which: imports go one way."""

import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
IMPORT = re.compile(r"^(?:import|export)\b[^;]*?\bfrom '(\.[^']+)';", re.MULTILINE)
MAY = {  # room: rooms below it
    "engine": set(),
    "loader": {"engine"},
    "models": {"engine", "loader"},
    "api": {"engine", "loader", "models", "vendor"},
    "onnxruntime": {"engine", "loader", "models", "api"},
}

EXPORT = Path(__file__).resolve().parents[2] / "export"
REACHED = re.compile(r"^\s*(?:from|import) export\.?([\w.]*)(?: import ([\w, ]+))?", re.MULTILINE)
BELOW = {  # room of the exporter: rooms and files below it
    "source": {"errors", "packing.formats", "site.headers"},
    "layouts": {"errors", "packing", "source"},
    "denoisers": {"errors", "packing", "samplers", "source"},
}


@pytest.mark.parametrize("room", BELOW)
def test_the_exporter_s_imports_go_down(room):
    """A source knows no layout and no family, a layout and a denoiser no family."""
    reached = {(module or names) for path in sorted((EXPORT / room).glob("*.py"))
               for module, names in REACHED.findall(path.read_text(encoding="utf-8"))}
    allowed = {room} | BELOW[room]
    wrong = {module for module in reached
             if not any(f"{module}.".startswith(f"{below}.") for below in allowed)}
    assert reached and not wrong


@pytest.mark.parametrize("room", MAY)
def test_imports_go_down(room):
    reached = {}
    for path in sorted((WEB / room).rglob("*.js")):
        for name in IMPORT.findall(path.read_text(encoding="utf-8")):
            target = (path.parent / name).resolve().relative_to(WEB)
            assert (WEB / target).is_file(), f"{path}: {name} is not there"
            reached.setdefault(target.parts[0], []).append(f"{path.relative_to(WEB)}: {name}")
    wrong = {other: where for other, where in reached.items() if other not in {room} | MAY[room]}
    assert not wrong
    assert reached, f"no import was found in {room}"


def test_models_know_nothing_of_webgpu_but_the_engine_s_errors():
    """They are handed ops; the engine names no model."""
    for path in sorted((WEB / "models").rglob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bGPU[A-Z]\w+|navigator\.gpu", text), path
        engine = [name for name in IMPORT.findall(text) if "/engine/" in name]
        assert all(name.endswith("/engine/errors.js") for name in engine), path
    for path in sorted((WEB / "engine").rglob("*.js")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"\b(flux|qwen|kl|sana)\w*\b", text, re.IGNORECASE), path
