"""A hub on loopback: the routes that huggingface_hub's client calls, over one folder."""

import http.server
import json
import subprocess
import sys
import threading
import zlib
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.export.conftest import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES_OF = f"/org/tiny/resolve/{COMMIT}/"
DESCRIPTIONS = {"/api/models/org/tiny", "/api/models/org/tiny/revision/main",
                "/api/models/org/tiny/revision/v1",
                f"/api/models/org/tiny/revision/{COMMIT}"}  # fmt: skip


class Handler(http.server.BaseHTTPRequestHandler):
    """A revision's description, its tree, and a commit's files."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server, unquote(urlsplit(self.path).path)
        if "org/tiny" in path:
            hub.tokens.add(self.headers.get("Authorization"))
        if hub.refusal:
            self.answer(b"{}", 403, {"X-Error-Code": hub.refusal})
        elif path == FILES_OF + str(hub.refused) and self.command == "GET":
            self.answer(b"", 500)
        elif path.startswith(FILES_OF):
            self.send_file(path.removeprefix(FILES_OF))
        elif path in DESCRIPTIONS:
            files = [{"rfilename": name} for name in hub.names()]
            self.answer_json({"id": "org/tiny", "sha": COMMIT, "siblings": files})
        elif path == f"/api/models/org/tiny/tree/{COMMIT}":
            self.answer_json([{"type": "file", "path": name, "oid": "0" * 40,
                               "size": (hub.folder / name).stat().st_size}
                              for name in hub.names()])  # fmt: skip
        else:
            code = "RevisionNotFound" if "org/tiny" in path else "RepoNotFound"
            self.answer(b"{}", 404, {"X-Error-Code": code})

    def send_file(self, name):
        hub, body, only = self.server, (self.server.folder / name).read_bytes(), None
        if self.command == "GET":
            hub.asked.append(name)
            if name in hub.cuts:
                hub.cuts.remove(name)
                only = len(body) // 2
        self.answer(body, only=only)

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
    """Serves `folder` as org/tiny. A file named n times in `cuts` breaks off half-way n times, and
    the one named in `refused` cannot be had; `refusal` is an error code that answers everything."""

    refusal = refused = None

    def __init__(self, folder, home):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.home = folder, home
        self.asked, self.tokens, self.cuts = [], set(), []

    def names(self):
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return [str(path.relative_to(self.folder)) for path in files]

    def build(self, *arguments, before=None, **environment):
        """build.py in its own process, whose hub this is; `before` is called in it first."""
        return subprocess.run(
            [sys.executable, str(ROOT / "build.py"), *map(str, arguments)],
            capture_output=True, text=True, timeout=90, preexec_fn=before,
            env={"HF_ENDPOINT": f"http://127.0.0.1:{self.server_port}", "PATH": "/usr/bin:/bin",
                 "HF_HOME": str(self.home), "HF_HUB_DISABLE_XET": "1", **environment},
        )  # fmt: skip


@contextmanager
def hub_of(folder, home):
    with Hub(folder, home) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()
