"""A hub on loopback: the routes that huggingface_hub's client calls, a folder a repository."""

import http.server
import json
import re
import subprocess
import sys
import threading
import zlib
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.export.conftest import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = re.compile(rf"/(org/[\w.-]+)/resolve/(?:main|{COMMIT})/(.*)", re.DOTALL)
DESCRIPTION = re.compile(rf"/api/models/(org/[\w.-]+)(?:/revision/(?:main|v1|{COMMIT}))?")
TREE = re.compile(rf"/api/models/(org/[\w.-]+)/tree/{COMMIT}")

HASTY = """
import os, runpy, sys, time
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.01))
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def build_command(*arguments):
    """build.py in a process of its own, whose hub's client hardly waits before it tries again."""
    return [str(word) for word in (sys.executable, "-c", HASTY, ROOT / "build.py", *arguments)]


def file_of(path):
    """The repository of a file's address, or None."""
    match = FILE.fullmatch(path)
    return match and match[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """A revision's description, its tree, and a commit's files."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        if "/org/" in path:
            hub.tokens.add(self.headers.get("Authorization"))
        if file_of(path) in hub.gated:
            return self.answer(b"{}", 403 if self.headers.get("Authorization") else 401,
                               {"X-Error-Code": "GatedRepo"})
        if hub.refusal:
            return self.answer(b"{}", 403, {"X-Error-Code": hub.refusal})
        file, described, tree = (
            pattern.fullmatch(path) for pattern in (FILE, DESCRIPTION, TREE))
        known = [match for match in (file, described, tree) if match and match[1] in hub.folders]
        if not known:
            there = any(f"/{repository}" in path for repository in hub.folders)
            code = "RevisionNotFound" if there else "RepoNotFound"
            return self.answer(b"{}", 404, {"X-Error-Code": code})
        repository = known[0][1]
        if file and file[2] == hub.refused and self.command == "GET":
            return self.answer(b"", 500)
        if file:
            return self.send_file(repository, file[2])
        names = hub.names(repository)
        if described:
            files = [{"rfilename": name} for name in names]
            return self.answer_json({"id": repository, "sha": COMMIT, "siblings": files})
        folder = hub.folders[repository]
        return self.answer_json([{"type": "file", "path": name, "oid": "0" * 40,
                                  "size": (folder / name).stat().st_size} for name in names])

    def send_file(self, repository, name):
        hub, path, only = self.server, self.server.folders[repository] / name, None
        if not path.is_file():
            return self.answer(b"{}", 404, {"X-Error-Code": "EntryNotFound"})
        body = path.read_bytes()
        if self.command == "GET":
            hub.asked.append(name)
            hub.fetched.setdefault(repository, []).append(name)
            if name in hub.cuts:
                hub.cuts.remove(name)
                only = len(body) // 2
        return self.answer(body, only=only)

    def answer_json(self, value):
        self.answer(json.dumps(value).encode())

    def answer(self, body, status=200, headers=(), only=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{zlib.crc32(body):08x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:only])
            self.close_connection = only is not None

    def log_message(self, format, *arguments):
        pass


class Hub(http.server.ThreadingHTTPServer):
    """Serves `folders`, {repository: folder}; at first one as org/tiny.

    A file named n times in `cuts` breaks off half-way n times, and the one named in `refused`
    cannot be had; `refusal` is an error code that answers everything, and the files of a repository
    that is `gated` are refused, its description is not. `asked` are the names of the files that
    were fetched, `fetched` the same by repository.
    """

    refusal = refused = None

    def __init__(self, folder, home):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folders, self.home = {"org/tiny": folder}, home
        self.asked, self.fetched, self.tokens, self.cuts = [], {}, set(), []
        self.gated = set()

    def names(self, repository="org/tiny"):
        folder = self.folders[repository]
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [str(path.relative_to(folder)) for path in files]

    def complete(self, repository="org/tiny"):
        """Names of the files that the client has in its cache."""
        own = self.home / "hub" / f"models--{repository.replace('/', '--')}" / "snapshots" / COMMIT
        return {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}

    def build(self, *arguments, before=None, **environment):
        """build.py in its own process, whose hub this is; `before` is called in it first."""
        return self.run(build_command(*arguments), before, environment)

    def python(self, *arguments, **environment):
        """Any command of Python's, likewise."""
        return self.run([sys.executable, *map(str, arguments)], None, environment)

    def run(self, command, before, environment):
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, preexec_fn=before,
            env={"HF_ENDPOINT": f"http://127.0.0.1:{self.server_port}", "PATH": "/usr/bin:/bin",
                 "HF_HOME": str(self.home), "HF_HUB_DISABLE_XET": "1", **environment},
        )


@contextmanager
def hub_of(folder, home):
    with Hub(folder, home) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()
