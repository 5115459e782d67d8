"""python -m tests [pytest arguments]: everything that must hold before a commit.

Brings what it needs first: the Python packages of pyproject.toml's `test` and `onnx` extras into
.venv, and, as root on Debian, two browsers, a software Vulkan driver, and npm for
onnxruntime-web. Then lints, looks for marks of conflicts and stray blanks, then tests.
"""

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from export import environment  # noqa: E402

WORKERS = max(2, (os.cpu_count() or 2) // 2)  # a browser keeps more than one core busy
VULKAN_DRIVERS = Path("/usr/share/vulkan/icd.d")


def missing_debian_packages():
    """Debian packages whose programs this machine lacks."""
    found = {
        "chromium": shutil.which("chromium"),
        "npm": shutil.which("npm"),
        "firefox-esr": shutil.which("firefox-esr") or shutil.which("firefox"),
        "mesa-vulkan-drivers": list(VULKAN_DRIVERS.glob("lvp_icd*.json")),
        "libvulkan1": ctypes.util.find_library("vulkan"),
    }
    return [package for package, present in found.items() if not present]


def ensure_debian_packages():
    packages = missing_debian_packages()
    if not packages:
        return
    command = f"apt-get install {' '.join(packages)}"
    if not (environment.is_root() and shutil.which("apt-get")):
        environment.fail("the tests need Chromium, Firefox, a software Vulkan and npm; run: "
                         + command)
    environment.tell(f"installing the Debian packages {', '.join(packages)}")
    if not environment.install_debian(packages):
        environment.fail(f"they could not be installed (see above); run: {command}")


def check_blanks():
    """git's own check of all tracked text: marks of conflicts and stray blanks; its exit status."""

    def git(*words, **options):
        return subprocess.run(["git", *words], cwd=ROOT, text=True, **options)

    tree = git("hash-object", "-t", "tree", os.devnull, capture_output=True)
    top = git("rev-parse", "--show-toplevel", capture_output=True)
    if tree.returncode or top.returncode or Path(top.stdout.strip()).resolve() != ROOT:
        environment.tell("this is no git checkout, so nothing looks for marks of conflicts")
        return 0
    return git("diff", "--check", tree.stdout.strip()).returncode


def main(arguments):
    environment.ensure(["-m", "tests", *arguments], extras=("test", "onnx"))
    ensure_debian_packages()
    lint = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT).returncode
    blanks = check_blanks()
    # Most of the time is spent on browsers that start and wait; a file's tests share one.
    spread = [] if arguments else ["-n", str(WORKERS), "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", *spread, *arguments]
    tests = subprocess.run(command, cwd=ROOT).returncode
    return lint or blanks or tests


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
