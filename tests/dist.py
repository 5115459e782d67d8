"""A written site as tests see it: where its code lies, and how its next version comes about."""

import urllib.request
from pathlib import Path
from urllib.parse import urljoin

from export.site.code import NAME, digest_of, find_code
from export.site.shell import write_shell

NAMING = ("index.html", "bench.html", "trefoil.js", "manifest.webmanifest", "_headers")


def code_of(dist):
    """The folder of code."""
    return dist / find_code(dist)


def code_name(url):
    """The folder's name in the site that has a page at `url`."""
    with urllib.request.urlopen(urljoin(url, "trefoil.js")) as response:
        return NAME.search(response.read().decode())[0]


def code_url(url):
    """The address of the folder of code: the base of addresses such as loader/shards.js."""
    return urljoin(url, f"{code_name(url)}/")


def located(script, url):
    """A script for the page at `url`, in which './code/' is the folder of code."""
    assert "'./code/" in script
    return script.replace("'./code/", f"'./{code_name(url)}/")


def change(dist, name, old, new):
    """The site's next version, as a build with a changed file writes it in place of this one.

    name: of a file at the top, or below the folder of code.
    """
    path = dist / name if (dist / name).exists() else code_of(dist) / name
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{name} has no {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")
    renew(dist)


def renew(dist, write=Path.write_text):
    """Gives the folder of code the name that its content has by now, wherever it is named."""
    old = find_code(dist)
    new = f"code-{digest_of(dist / old)[:16]}"
    (dist / old).rename(dist / new)
    for name in NAMING:
        write(dist / name, NAME.sub(new, (dist / name).read_text(encoding="utf-8")))
    (dist / "sw.js").unlink(missing_ok=True)
    write_shell(dist)
