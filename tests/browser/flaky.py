"""A static server whose next answers can be spoilt, and which counts what it sends."""

import contextlib
import gzip
import itertools
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import parse_qs

from export.site.serve import Handler, match_range, span_of
from tests.hosting import Host
from tests.waiting import wait_until

PIECE = 1 << 12
READ = "tests-read"  # what a page asks for to tell what it has read of an answer that has an ANSWER
ANSWER = "Tests-Answer"


class FlakyServer(Host):
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
        self.signatures = []  # of addresses that are good for one request
        self.signed_faults = []  # which such requests meet, one each
        self.numbers = itertools.count(1)  # of answers that end before the file does
        self.read = Counter()  # number -> bytes that the page has read, as it tells
        self.holding, self.held = {}, Counter()  # number -> (file, bytes); file -> those read
        super().__init__(dist, FlakyHandler)

    def handle(self, *request):
        self.handler(*request, directory=str(self.folder), flaky=self)

    def until_asked(self, name, times=1):
        wait_until(lambda: len(self.asked[name]) >= times, f"{name} is asked for {times} times")

    def until_held(self, name, times=1):
        """Until the page has read all that `hold` lets it have, in so many answers."""
        wait_until(lambda: self.held[name] >= times, f"{name} is held {times} times")

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
        self.held.clear()

    def shards(self):
        """What was sent of each shard."""
        return {name: count for name, count in self.sent.items() if name.endswith(".bin")}

    def fault_of(self, name):
        return self.faults[name].pop(0) if self.faults[name] else self.always.get(name, {})

    def pace(self, count):
        if self.rate:
            with self.turn:
                time.sleep(count / self.rate)


# ---- faults ------------------------------------------------------------------------------------

def cut(count):
    """The connection breaks after so many bytes of the body, once the page has read them: it would
    lose what it has not."""
    return {"cut": count}


def hold(count):
    """After so many bytes nothing more comes, and the connection stays."""
    return {"hold": count}


def short(count):
    """After so many bytes the body ends as if that were all of it."""
    return {"short": count}


def pieces(count):
    """206 and at most so many bytes of whatever is asked for."""
    return {"pieces": count}


def refuse(status, **headers):
    """refuse(429, Retry_After="1")"""
    return {"status": status, "headers": headers}


def page(kind="text/html; charset=utf-8", text="<!DOCTYPE html><title>A site</title>" + " " * 999):
    """200 and this text, whatever range is asked for."""
    return {"page": text.encode(), "kind": kind}


def of_ranges(fault):
    """Only requests of ranges meet the fault."""
    return {"of_ranges": fault}


def claims(content_range, kind=None):
    """206 whose Content-Range and, if named, whose Content-Type say this."""
    return {"claims": content_range, "kind": kind}


LATE_END = {"late": True}  # the body's end comes after the page has read all the rest
WHOLE = {"whole": True}  # 200 and the whole file, whatever range is asked for
FROM_ZERO = {"from_zero": True}  # 206 and the whole file, in answer to any range
WRONG = {"wrong": True}  # a byte of the body is another one
SILENT = {"silent": True}  # the request is read, and no answer begins
LOOP = {"loop": True}  # a redirect to the same address
PACKED = {"packed": True}  # gzip; a range is one of the packed bytes, and said to be
PACKED_UNSAID = {"packed": True, "unsaid": True}  # the same, but ranges do not say that they are
SIGNED = {"signed": True}  # a redirect to an address that is good for one request


class FlakyHandler(Handler):
    def __init__(self, *arguments, flaky, **options):
        self.flaky, self.fault, self.number = flaky, {}, None
        super().__init__(*arguments, **options)

    def answer(self, with_body):
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        if name == READ:
            return self.note_read({key: int(value) for key, [value] in parse_qs(query).items()})
        if not with_body:  # the page asks whether the server is there, and redirects
            self.fault = {}
            if "loop" in self.flaky.always.get(name, {}):
                return self.send_refusal(302, Location=self.path)
            return super().answer(with_body)
        wanted = self.headers.get("Range")
        if query in self.flaky.signatures:
            self.flaky.signatures.remove(query)
            self.fault = self.flaky.signed_faults.pop(0) if self.flaky.signed_faults else {}
        else:
            self.fault = self.flaky.fault_of(name)  # before until_asked's caller may heal it
            self.flaky.asked[name].append(wanted)
        if "of_ranges" in self.fault:
            self.fault = self.fault["of_ranges"] if wanted else {}
        for kind, spoil in SPOILT.items():
            if kind in self.fault:
                return spoil(self)
        self.turn_range(wanted)
        super().answer(with_body)

    def note_read(self, told):
        self.fault = {}
        self.flaky.read[told["answer"]] = told["bytes"]
        name, count = self.flaky.holding.get(told["answer"], (None, None))
        if name and told["bytes"] == count:
            self.flaky.held[name] += 1
        self.send_response(204)
        self.end_headers()

    def until_read(self, count):
        """Pages of tests.browser.loader tell how much they have read."""
        wait_until(lambda: self.flaky.read[self.number] >= count, f"{count} bytes are read")

    def turn_range(self, wanted):
        if "whole" in self.fault:
            del self.headers["Range"]
        if "from_zero" in self.fault and wanted:
            self.headers.replace_header("Range", "bytes=0-")
        if "pieces" in self.fault:
            first = int((wanted or "bytes=0-")[len("bytes="):-1])
            del self.headers["Range"]
            self.headers["Range"] = f"bytes={first}-{first + self.fault['pieces'] - 1}"

    def end_headers(self):
        if {"cut", "hold", "late"} & self.fault.keys():
            self.number = next(self.flaky.numbers)
            super().send_header(ANSWER, str(self.number))
        super().end_headers()

    def send_header(self, key, value):
        if key == "Content-Length" and {"short", "late"} & self.fault.keys():
            key, value = "Connection", "close"  # its end is the body's
        if key == "Content-Range" and "claims" in self.fault:
            if self.fault["claims"] is None:
                return
            value = self.fault["claims"]
        if key == "Content-Type":
            value = self.fault.get("kind") or value
        super().send_header(key, value)

    def send_refusal(self, status=None, **headers):
        self.send_response(status or self.fault["status"])
        for key, value in (headers or self.fault["headers"]).items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_page(self):
        body = self.fault["page"]
        self.send_response(200)
        self.send_header("Content-Type", self.fault["kind"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_signed(self):
        self.flaky.signatures.append(f"signature={len(self.flaky.asked)}{time.monotonic_ns()}")
        self.send_refusal(302, Location=f"{self.path}?{self.flaky.signatures[-1]}")

    def send_packed(self):
        body = gzip.compress(Path(self.translate_path(self.path)).read_bytes(), 1)
        wanted = match_range(self.headers.get("Range"))
        first, last = span_of(wanted, len(body)) if wanted else (0, len(body))
        if first >= last:
            return self.send_refusal(416, Content_Range=f"bytes */{len(body)}")
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(body)}")
        if not (wanted and "unsaid" in self.fault):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(last - first))
        self.end_headers()
        short = self.fault.get("cut")
        self.wfile.write(body[first:last][:short])
        if short is not None:
            self.until_read(1)  # of what is unpacked
            self.close_connection = True

    def wait_for_close(self):
        """Until the other side closes."""
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        self.close_connection = True

    def send_bytes(self, path, first, last):
        name, fault = path.name, self.fault
        content = bytearray(path.read_bytes())[first:last]
        if "wrong" in fault:
            content[len(content) // 2] ^= 1
        short = fault.get("cut", fault.get("hold", fault.get("short")))
        body = memoryview(content)[:short]
        if "hold" in fault:
            self.flaky.holding[self.number] = name, len(body)
        try:
            for at in range(0, len(body), PIECE):
                piece = body[at:at + PIECE]
                self.flaky.pace(len(piece))
                self.wfile.write(piece)
                self.flaky.sent[name] += len(piece)
            if {"cut", "late"} & fault.keys():
                self.until_read(len(body))
            if "hold" in fault:
                self.wait_for_close()
        except OSError:
            pass
        self.close_connection |= short is not None or "late" in fault


# By the key of a fault that leaves nothing of the ordinary answer.
SPOILT = {
    "status": FlakyHandler.send_refusal,
    "page": FlakyHandler.send_page,
    "packed": FlakyHandler.send_packed,
    "signed": FlakyHandler.send_signed,
    "silent": FlakyHandler.wait_for_close,
    "loop": lambda handler: handler.send_refusal(302, Location=handler.path),
}
