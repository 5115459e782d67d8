"""Fixtures: tiny checkpoints, and the command line."""

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from build import main
from tests.export.tiny import Tiny

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Result:
    status: int
    stdout: str
    stderr: str


@pytest.fixture
def build(capsys):
    """build(*arguments) runs build.py's main and returns its Result."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(word) for word in arguments])
        except SystemExit as leaving:
            status = leaving.code
        return Result(status, *capsys.readouterr())

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def mlx(tmp_path):
    """The folder of a ternary checkpoint in the MLX-packed layout."""
    return Tiny().write(tmp_path / "tiny", "mlx")


@pytest.fixture
def unpacked(tmp_path):
    """The folder of a ternary checkpoint in the unpacked layout."""
    return Tiny().write(tmp_path / "tiny", "unpacked")
