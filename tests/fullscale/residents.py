"""What Chromium's processes have in memory, on Linux."""

import os
import re
import resource
import threading
from pathlib import Path


class Residents:
    """`peaks`: stage -> {kind of Chromium's processes: the most bytes that one had resident}.

    Sampled, because Chromium resets the peak that Linux keeps.
    """

    SECONDS = 0.25

    def __init__(self):
        self.peaks = {}
        self.begin("at rest")
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.done.set()
        self.thread.join()

    def begin(self, stage):
        self.stage = self.peaks.setdefault(stage, {})

    def watch(self):
        while True:
            stage = self.stage
            for kind, resident in residents():
                stage[kind] = max(resident, stage.get(kind, 0))
            if self.done.wait(self.SECONDS):
                return


def residents():
    """(kind, bytes resident) of every process of the Chromium that this one started."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_text().replace("\0", " ")
            pages = int((path / "statm").read_text().split()[1])
        except (OSError, ValueError):
            continue  # it has ended
        if "chromium" in command.partition(" ")[0]:
            kind = re.search(r"--type=(\S+)", command)
            found.append((int(path.name), kind[1] if kind else "browser", pages))
    for process, kind, pages in found:
        ancestor = process
        while ancestor in parents and ancestor != os.getpid():
            ancestor = parents[ancestor]
        if ancestor == os.getpid():
            yield kind, pages * resource.getpagesize()
