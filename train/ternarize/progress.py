"""What a run tells while it goes on: a bar on stderr, for each stage."""

import sys

from tqdm import tqdm

SECONDS_IN_A_LOG = 30  # between two lines where stderr is no terminal


class Progress:
    """begin(stage, total, done) and advance(done, error); silent in all processes but the first."""

    def __init__(self, silent=False):
        self.silent, self.bar = silent, None

    def begin(self, stage, total, done=0):
        self.close()
        seconds = 0.1 if sys.stderr.isatty() else SECONDS_IN_A_LOG
        self.bar = tqdm(desc=stage, total=total, initial=done, file=sys.stderr, mininterval=seconds,
                        disable=self.silent)

    def advance(self, done, error=None):
        if error is not None:
            self.bar.set_postfix({"relative error": f"{error:.4f}"}, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self):
        if self.bar is not None:
            self.bar.close()
