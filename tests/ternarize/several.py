"""Several runs of the ternariser, one after another in one torchrun: argv is a JSON file of words.

What starts a process is most of what a small run costs. They are joined once: processes that have
parted do not find each other again.
"""

import json
import sys
from pathlib import Path

from train.ternarize import processes
from train.ternarize.__main__ import main

if __name__ == "__main__":
    part, processes.stop = processes.stop, lambda: None
    for words in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        if status := main(words):
            sys.exit(status)
    part()
