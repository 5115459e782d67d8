"""Packages from npm are those that are pinned, or none."""

import base64
import hashlib
import json

import pytest

from export import npm
from export.errors import ExportError


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(npm, "CACHE", tmp_path / "npm")
    return tmp_path / "npm"


def test_a_package_that_is_there_is_not_fetched_again(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    cache.mkdir()
    package = cache / "scope-name-1.2.3.tgz"
    package.write_bytes(b"packed")
    integrity = base64.b64encode(hashlib.sha512(b"packed").digest()).decode()
    assert npm.fetch("@scope/name", "1.2.3", integrity) == package


def test_another_package_is_refused(cache):
    cache.mkdir()
    (cache / "name-1.2.3.tgz").write_bytes(b"packed by someone else")
    with pytest.raises(ExportError, match=r"name-1\.2\.3\.tgz: its sha512 is .+, expected abc="):
        npm.fetch("name", "1.2.3", "abc=")


def test_without_npm_it_is_said(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ExportError, match="npm is missing, which brings name; install Node.js"):
        npm.fetch("name", "1.2.3", "abc=")


def test_npm_tells_why_a_package_does_not_come(cache, monkeypatch, tmp_path):
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    told = json.dumps({"error": {"summary": "no such package\nat all"}})
    program.write_text(f"#!/bin/sh\nprintf '%s' '{told}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    with pytest.raises(ExportError, match=r"npm pack name@1\.2\.3 brought no name-1\.2\.3\.tgz: "
                                          "no such package; is there a connection"):
        npm.fetch("name", "1.2.3", "abc=")
