"""A hub on loopback that takes repositories and uploads: what huggingface_hub's client calls."""

import base64
import hashlib
import http.server
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TOKEN = "hf_writer"
LARGE_BYTES = 100_000  # from here on a file goes to the large-file storage
CALL = re.compile(r"/api/(models|spaces)/(me/[\w.-]+)(?:/(preupload|commit|revision|tree)/main)?")
BATCH = re.compile(r"/(spaces/)?(me/[\w.-]+)\.git/info/lfs/objects/batch")


@dataclass
class Repository:
    kind: str  # models or spaces
    sdk: str | None = None
    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def head(self):
        return self.commits[-1] if self.commits else "0" * 40

    def oid(self, path):
        """As the hub tells it: SHA-256 of a large file, else git's SHA-1."""
        content = self.files[path]
        if len(content) >= LARGE_BYTES:
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one call; every change is written down in `hub.log`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        repository, action = self.find()
        if repository is None:
            self.answer({}, 404, "RepoNotFound")
        elif action == "tree":
            self.answer([{"type": "file", "path": path, "size": len(content),
                          "oid": repository.oid(path)}
                         for path, content in repository.files.items()])
        else:
            self.answer({"id": "x", "sha": repository.head, "sdk": repository.sdk,
                         "private": repository.private,
                         "siblings": [{"rfilename": path} for path in repository.files]})

    def do_POST(self):
        hub, path = self.server, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self.read_chunks()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer({"error": "Invalid credentials"}, 401)
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if hub.refusal and path.startswith(hub.refusal[0]):
            return self.answer({"error": hub.refusal[2]}, hub.refusal[1])
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if BATCH.fullmatch(path):
            return self.answer({"transfer": "basic", "objects": [
                self.upload_of(item) for item in json.loads(body)["objects"]]})
        repository, action = self.find()
        if repository is None:
            return self.answer({}, 404, "RepoNotFound")
        if action == "preupload":
            return self.answer({"files": [self.mode_of(repository, file)
                                          for file in json.loads(body)["files"]]})
        return self.commit(repository, [json.loads(line) for line in body.splitlines()])

    def do_PUT(self):
        """A large file; the first of `hub.cuts` is broken off half-way."""
        hub, digest = self.server, self.path.removeprefix("/storage/")
        length = int(self.headers["Content-Length"])
        if digest in hub.cuts:
            hub.cuts.remove(digest)
            self.rfile.read(length // 2)
            self.close_connection = True
            return self.connection.close()
        content = self.rfile.read(length)
        assert hashlib.sha256(content).hexdigest() == digest
        hub.storage[digest] = content
        hub.log.append(("put", digest, len(content)))
        return self.answer({})

    def find(self):
        match = CALL.fullmatch(urlsplit(self.path).path)
        kind, name, action = match.groups() if match else (None, None, None)
        return self.server.repositories.get((kind, name)), action

    def create(self, asked):
        hub, kind = self.server, asked["type"] + "s" if "type" in asked else "models"
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{hub.url}/{'spaces/' if kind == 'spaces' else ''}{name}"
        if asked["organization"] != "me":
            return self.answer({"error": "You don't have the rights"}, 403)
        if (kind, name) in hub.repositories:
            return self.answer({"url": url, "error": "You already created this"}, 409)
        private = asked.get("visibility") == "private"
        hub.repositories[kind, name] = Repository(kind, asked.get("sdk"), private)
        hub.log.append(("create", kind, name))
        return self.answer({"url": url, "name": name})

    def upload_of(self, item):
        if item["oid"] in self.server.storage:
            return item
        href = f"{self.server.url}/storage/{item['oid']}"
        return item | {"actions": {"upload": {"href": href}}}

    def mode_of(self, repository, file):
        path = file["path"]
        return {"path": path, "shouldIgnore": False,
                "uploadMode": "lfs" if file["size"] >= LARGE_BYTES else "regular",
                "oid": repository.oid(path) if path in repository.files else None}

    def commit(self, repository, lines):
        hub, changed = self.server, []
        for line in lines[1:]:
            value, kind = line["value"], line["key"]
            path = value["path"]
            if kind == "file":
                repository.files[path] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                repository.files[path] = hub.storage[value["oid"]]
            elif kind == "deletedFile":
                del repository.files[path]
            changed.append((kind, path))
        kind, name, _ = CALL.fullmatch(urlsplit(self.path).path).groups()
        url = f"{hub.url}/{'spaces/' if kind == 'spaces' else ''}{name}/commit"
        seed = repr((repository.head, sorted(repository.files), changed)).encode()
        repository.commits.append(hashlib.sha1(seed).hexdigest())
        hub.log.append(("commit", repository.kind, changed))
        return self.answer({"success": True, "commitOid": repository.head,
                            "commitUrl": f"{url}/{repository.head}"})

    def read_chunks(self):
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, value, status=200, code=None):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        pass


class WritableHub(http.server.ThreadingHTTPServer):
    """`refusal` is (start of a path, status, message) of calls that are refused."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories, self.storage = {}, {}
        self.log, self.cuts, self.refusal = [], [], None


@contextmanager
def writable_hub():
    with WritableHub() as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()
