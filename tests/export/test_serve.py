"""The local server, over loopback: ranges, types, cache headers, and what it must not give."""

import http.client
import re
import subprocess
import sys
import threading
import urllib.request

import pytest

from export.errors import ExportError
from export.site.serve import make_server
from tests.export.conftest import ROOT

SHARD = "0123456789abcdef" * 4 + ".bin"
CODE = "code-" + "0123456789abcdef"
BODY = bytes(range(200))


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / "model").mkdir()
    (folder / "model" / SHARD).write_bytes(BODY)
    (folder / "model" / "short.bin").write_bytes(b"")
    (folder / CODE).mkdir()
    (folder / CODE / "main.js").write_text("x")
    for name in ("index.html", "trefoil.js", "a.wgsl", "a.css", "a.json", "a.svg", "a.unknown"):
        (folder / name).write_bytes(b"content of " + name.encode())
    (folder.parent / "secret").write_text("x")
    with make_server(folder, 0) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def ask(port, path, method="GET", **headers):
    """(status, headers, body) of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers, body


def test_a_whole_file(port):
    status, headers, body = ask(port, f"/model/{SHARD}")
    assert (status, body) == (200, BODY)
    assert headers["Content-Length"] == "200" and headers["Accept-Ranges"] == "bytes"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(("wanted", "first", "last"), [
    ("bytes=0-0", 0, 1), ("bytes=10-19", 10, 20), ("bytes=190-", 190, 200), ("bytes=-5", 195, 200),
    ("bytes=0-", 0, 200), ("bytes=150-999", 150, 200), ("bytes=-999", 0, 200),
])
def test_a_range(port, wanted, first, last):
    status, headers, body = ask(port, f"/model/{SHARD}", Range=wanted)
    assert (status, body) == (206, BODY[first:last])
    assert headers["Content-Range"] == f"bytes {first}-{last - 1}/200"
    assert headers["Content-Length"] == str(last - first)


@pytest.mark.parametrize("wanted", ["bytes=200-", "bytes=500-600", "bytes=-0"])
def test_a_range_outside_the_file(port, wanted):
    status, headers, body = ask(port, f"/model/{SHARD}", Range=wanted)
    assert (status, body) == (416, b"")
    assert headers["Content-Range"] == "bytes */200"


def test_a_range_of_an_empty_file(port):
    assert ask(port, "/model/short.bin", Range="bytes=0-")[0] == 416
    assert ask(port, "/model/short.bin")[::2] == (200, b"")


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "items=0-1", "bytes=-", "bytes=a-b", ""])
def test_what_is_no_single_range_gets_the_whole_file(port, wanted):
    status, headers, body = ask(port, f"/model/{SHARD}", Range=wanted)
    assert (status, body) == (200, BODY) and "Content-Range" not in headers


@pytest.mark.parametrize(("path", "kind"), [
    ("/", "text/html; charset=utf-8"), ("/index.html", "text/html; charset=utf-8"),
    ("/index.html?seed=1", "text/html; charset=utf-8"),
    ("/trefoil.js", "text/javascript; charset=utf-8"), ("/a.wgsl", "text/wgsl; charset=utf-8"),
    ("/a.css", "text/css; charset=utf-8"), ("/a.json", "application/json"),
    ("/a.svg", "image/svg+xml"), ("/a.unknown", "application/octet-stream"),
])
def test_types_and_no_cache(port, path, kind):
    status, headers, _ = ask(port, path)
    assert status == 200 and headers["Content-Type"] == kind
    assert headers["Cache-Control"] == "no-cache"


def test_what_is_named_by_its_content_is_kept_for_ever(port):
    status, headers, _ = ask(port, f"/{CODE}/main.js")
    assert status == 200 and headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"


def test_head_has_no_body(port):
    status, headers, body = ask(port, f"/model/{SHARD}", method="HEAD", Range="bytes=0-9")
    assert (status, body, headers["Content-Length"]) == (206, b"", "10")


@pytest.mark.parametrize("path", ["/nothing", "/../secret", "/%2e%2e/secret", "/model/", "//"])
def test_what_is_not_there(port, path):
    assert ask(port, path)[0] == (200 if path == "//" else 404)


def test_a_folder_without_its_slash(port):
    status, headers, _ = ask(port, "/model?x=1")
    assert status == 301 and headers["Location"] == "/model/?x=1"


def test_one_connection_serves_many_requests(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for path in ("/a.json", "/nothing", f"/model/{SHARD}", "/a.css"):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.version == 11 and response.read()
    connection.close()


def test_a_port_that_is_taken(port, tmp_path):
    with pytest.raises(ExportError, match=f"port {port} cannot be used"):
        make_server(tmp_path, port)


def test_build_and_serve(mlx, tmp_path):
    process = subprocess.Popen(
        [sys.executable, ROOT / "build.py", "--model", mlx, "--out", tmp_path / "site",
         "--serve", "0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )
    try:
        lines = iter(process.stderr.readline, "")
        line = next(line for line in lines if "http" in line)
        assert "localhost" in line and "HTTPS" in line
        address = re.search(r"http://localhost:\d+/", line)[0]
        with urllib.request.urlopen(address.replace("localhost", "127.0.0.1")) as response:
            assert b"<!doctype html>" in response.read().lower()
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0
        process.stderr.close()
