"""A static server whose next answers can be spoilt, and which counts what it sends."""

import http.server
import sys
import threading
import time
from collections import Counter, defaultdict
from functools import partial

from export.serve import Handler

PIECE = 1 << 12
READ_SECONDS = 0.3  # a page loses what it has not read yet when the connection breaks


class FlakyServer:
    """`dist` on a loopback port.

    spoil(name, fault, ...) has the next requests of a file meet these faults, one each; keep(name,
    fault) has all of them meet one. asked[name] lists the Range headers of its requests, sent[name]
    counts the bytes of its bodies. `rate` is in bytes a second over all connections, which stand
    still while someone else holds `turn`.
    """

    def __init__(self, dist, rate=None):
        self.asked, self.sent = defaultdict(list), Counter()
        self.faults, self.always = defaultdict(list), {}
        self.turn, self.rate = threading.Lock(), rate
        handler = partial(FlakyHandler, directory=str(dist), flaky=self)
        self.httpd = QuietServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}/"

    def __enter__(self):
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.httpd.shutdown()
        self.httpd.server_close()

    def spoil(self, name, *faults):
        self.faults[name] += faults

    def keep(self, name, fault):
        self.always[name] = fault

    def heal(self):
        self.faults.clear()
        self.always.clear()

    def forget(self):
        self.asked.clear()
        self.sent.clear()

    def shards(self):
        """What was sent of each shard."""
        return {name: count for name, count in self.sent.items() if name.endswith(".bin")}

    def fault_of(self, name):
        return self.faults[name].pop(0) if self.faults[name] else self.always.get(name, {})

    def pace(self, count):
        if self.rate:
            with self.turn:
                time.sleep(count / self.rate)


def cut(count):
    """The connection breaks after so many bytes of the body."""
    return {"cut": count}


def hold(count):
    """After so many bytes nothing more comes, and the connection stays."""
    return {"hold": count}


def refuse(status, **headers):
    """refuse(429, Retry_After="1")"""
    return {"status": status, "headers": headers}


WHOLE = {"whole": True}  # 200 and the whole file, whatever range is asked for
FROM_ZERO = {"from_zero": True}  # 206 and the whole file, in answer to any range
WRONG = {"wrong": True}  # a byte of the body is another one


class QuietServer(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Says nothing of a browser that was killed or gave up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class FlakyHandler(Handler):
    def __init__(self, *arguments, flaky, **options):
        self.flaky = flaky
        super().__init__(*arguments, **options)

    def answer(self, with_body):
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.flaky.asked[name].append(self.headers.get("Range"))
        self.fault = self.flaky.fault_of(name)
        if "status" in self.fault:
            self.send_response(self.fault["status"])
            for key, value in self.fault["headers"].items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if "whole" in self.fault:
            del self.headers["Range"]
        if "from_zero" in self.fault:
            self.headers.replace_header("Range", "bytes=0-")
        super().answer(with_body)

    def send_bytes(self, path, first, last):
        name, fault = path.name, self.fault
        content = bytearray(path.read_bytes())[first:last]
        if "wrong" in fault:
            content[len(content) // 2] ^= 1
        short = fault.get("cut", fault.get("hold"))
        body = memoryview(content)[:short]
        try:
            for at in range(0, len(body), PIECE):
                piece = body[at:at + PIECE]
                self.flaky.pace(len(piece))
                self.wfile.write(piece)
                self.flaky.sent[name] += len(piece)
            if "cut" in fault:
                time.sleep(READ_SECONDS)
            if "hold" in fault:
                self.connection.recv(1)  # until the other side closes
        except OSError:
            pass
        self.close_connection = self.close_connection or short is not None
