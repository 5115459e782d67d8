"""What a run has to do with its console: streams that may break, signals that may come.

Standard library only.
"""

import contextlib
import os
import signal
import sys

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class Steady:
    """A text stream that no write fails on: names are escaped where its encoding lacks a letter,

    and when nobody reads it any more, or its disk is full, what follows is dropped. `error` is then
    the OSError.
    """

    def __init__(self, stream):
        self.stream = stream
        self.error = None
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text):
        with self.dropping():
            self.stream.write(text)
        return len(text)

    def flush(self):
        with self.dropping():
            self.stream.flush()

    @contextlib.contextmanager
    def dropping(self):
        try:
            yield
        except OSError as error:
            self.error = self.error or error
            self.drop()

    def drop(self):
        """Points the stream to nowhere, so that what it still holds does not fail at exit."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name):
        return getattr(self.stream, name)


@contextlib.contextmanager
def steady_streams():
    """Makes both output streams steady while the block runs. Yields the one of stdout."""
    before = sys.stdout, sys.stderr
    missing = None in before and open(os.devnull, "w")  # a stream that was closed from outside
    sys.stdout, sys.stderr = (Steady(stream or missing) for stream in before)
    try:
        yield sys.stdout
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class Interrupts:
    """What SIGINT and its kin do while the block runs; signals that were ignored stay so.

    They raise KeyboardInterrupt; within `importing`, where an exception could be lost in foreign
    code and nothing is written yet, the process ends at once; within `held` they have to wait.
    `outcome` is what there is to say of the folder when one comes.
    """

    def __init__(self, outcome):
        self.outcome = outcome
        self.came = False
        self.act = self.stop

    def __enter__(self):
        self.before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in self.before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self.receive)
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def receive(self, number, frame):
        self.came = True
        self.act()

    def stop(self):
        raise KeyboardInterrupt

    def leave(self):
        leave_at_once(self.outcome)

    @contextlib.contextmanager
    def importing(self):
        self.act = self.leave
        yield
        self.act = self.stop

    @contextlib.contextmanager
    def held(self, outcome):
        """For what must not be done by half; afterwards the outcome is this."""
        self.act = lambda: None
        try:
            yield
            self.outcome = outcome
        finally:
            self.act = self.stop
        if self.came:
            raise KeyboardInterrupt


def leave_at_once(outcome):
    line = f"build.py: interrupted; {outcome}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode("utf-8", "backslashreplace"))
    os._exit(1)
