"""A static server for dist/ on this machine: ranges, MIME types, cache headers."""

import contextlib
import functools
import http.server
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

from export.errors import ExportError
from export.site.code import NAME
from export.site.headers import IMMUTABLE

MIME = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".json": "application/json", ".wgsl": "text/wgsl; charset=utf-8",
    ".md": "text/markdown; charset=utf-8", ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
    ".wasm": "application/wasm", ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2", ".bin": "application/octet-stream",
}
SHARD = re.compile(r"[0-9a-f]{64}\.bin")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
CHUNK_BYTES = 1 << 20


class Handler(http.server.SimpleHTTPRequestHandler):
    """GET and HEAD of files, with a single Range."""

    protocol_version = "HTTP/1.1"
    server_version = "Trefoil"
    sys_version = ""

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        path = Path(self.translate_path(self.path))
        try:
            if path.is_dir():
                if not urlsplit(self.path).path.endswith("/"):
                    return self.redirect()
                path /= "index.html"
            self.send_file(path, path.stat().st_size, with_body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # nobody listens any more
        except (OSError, ValueError):
            self.send_error(404)

    def send_file(self, path, total, with_body):
        wanted = match_range(self.headers.get("Range"))
        first, last = span_of(wanted, total) if wanted else (0, total)
        if wanted and first >= last:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{total}")
        self.send_header("Content-Type", MIME.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(last - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", cache_control(path))
        self.end_headers()
        if with_body:
            self.send_bytes(path, first, last)

    def redirect(self):
        parts = urlsplit(self.path)
        query = f"?{parts.query}" if parts.query else ""
        self.send_response(301)
        self.send_header("Location", f"{parts.path}/{query}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_bytes(self, path, first, last):
        try:
            with path.open("rb") as file:
                file.seek(first)
                while first < last:
                    piece = file.read(min(CHUNK_BYTES, last - first))
                    if not piece:
                        break
                    self.wfile.write(piece)
                    first += len(piece)
        except OSError:  # nobody listens any more, or the site is just being replaced
            pass
        self.close_connection = self.close_connection or first < last

    def send_error(self, *told):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            return super().send_error(*told)
        self.close_connection = True

    def log_message(self, format, *arguments):
        """Quiet: the page's own console tells of missing files."""


def match_range(header):
    """The match of a single byte range; None for anything else, which RFC 9110 lets us ignore."""
    match = RANGE.fullmatch(header.strip()) if header else None
    return match if match and match.groups() != ("", "") else None


def span_of(match, total):
    """(first, last) in bytes, last exclusive; empty where the file has nothing of the range."""
    first, last = match.groups()
    if first == "":
        return max(0, total - int(last)), total
    return int(first), min(int(last) + 1, total) if last else total


def cache_control(path):
    """For ever where the content names the file or its folder."""
    named = SHARD.fullmatch(path.name) or any(NAME.fullmatch(part) for part in path.parts)
    return IMMUTABLE if named else "no-cache"


class Server(http.server.ThreadingHTTPServer):
    """Quiet about visitors who leave, and about files that go while a site is built again."""

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def make_server(folder, port, handler=Handler):
    """A server of `folder` on 127.0.0.1; port 0 takes a free one. Raises ExportError."""
    bound = functools.partial(handler, directory=str(folder))
    try:
        return Server(("127.0.0.1", port), bound)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ExportError(
            f"--serve: port {port} cannot be used ({reason}); name another, as in --serve 8001"
        ) from None


def serve(folder, port, stream):
    """Serves until interrupted."""
    with make_server(folder, port) as server:
        print(
            f"http://localhost:{server.server_port}/  (WebGPU works on localhost and over HTTPS "
            "only; stop with Ctrl-C)",
            file=stream,
            flush=True,
        )
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(file=stream)
