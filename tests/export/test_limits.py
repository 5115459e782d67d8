"""Limits that stand once in Python and once in JavaScript are one number."""

import re
from pathlib import Path

from export.families.call import MOST_STEPS

WEB = Path(__file__).resolve().parents[2] / "web"


def test_most_steps():
    """The pages take it from Python, the library and the studio from one file."""
    homes = {}
    for path in sorted(WEB.rglob("*.js")):
        if "vendor" not in path.parts:
            for number in re.findall(r"MAX_STEPS = (\S+);", path.read_text(encoding="utf-8")):
                homes[path.relative_to(WEB).as_posix()] = int(number)
    assert homes == {"api/limits.js": MOST_STEPS}
    page = (WEB / "pages" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'id="steps"[^>]* max="{{ most_steps }}"', page)
