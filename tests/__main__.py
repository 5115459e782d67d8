"""python -m tests [fast] [pytest arguments]: everything that must hold before a commit.

Brings what it needs first: the Python packages of pyproject.toml's extras into .venv, and, as root
on Debian, two browsers, a software Vulkan driver and Node.js. Then it makes the checks of CHECKS,
then it tests. `fast` needs Node.js alone beside its few packages: see tests/fast.py.
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
from tests import fast  # noqa: E402

WORKERS = max(2, (os.cpu_count() or 2) // 2)  # a browser keeps more than one core busy
VULKAN_DRIVERS = Path("/usr/share/vulkan/icd.d")


EXTRAS = {"fast": ("fast",), "full": ("test", "fast", "onnx")}


def missing_debian_packages(tier):
    """Debian packages whose programs the tier needs and this machine lacks."""
    found = {"nodejs": shutil.which("node")}
    if tier == "full":
        found |= {
            "chromium": shutil.which("chromium"),
            "npm": shutil.which("npm"),
            "firefox-esr": shutil.which("firefox-esr") or shutil.which("firefox"),
            "mesa-vulkan-drivers": list(VULKAN_DRIVERS.glob("lvp_icd*.json")),
            "libvulkan1": ctypes.util.find_library("vulkan"),
        }
    return [package for package, present in found.items() if not present]


def ensure_debian_packages(tier):
    packages = missing_debian_packages(tier)
    if not packages:
        return
    command = f"apt-get install {' '.join(packages)}"
    if not (environment.is_root() and shutil.which("apt-get")):
        environment.fail(f"the tests need {', '.join(packages)}; on Debian run: {command}")
    environment.tell(f"installing the Debian packages {', '.join(packages)}")
    if not environment.install_debian(packages):
        environment.fail(f"they could not be installed (see above); run: {command}")


def check_lint():
    return subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT).returncode


def check_types():
    """Of the functions that are annotated: those that other rooms call."""
    return subprocess.run([sys.executable, "-m", "mypy", "--no-error-summary"], cwd=ROOT).returncode


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


def check_javascript():
    """The tests of JavaScript that needs no browser, by Node.js' own runner; told if they fail."""
    files = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/web/*.test.js"))
    done = subprocess.run(["node", "--test", "--test-reporter=spec", *files], cwd=ROOT,
                          capture_output=True, text=True)
    if done.returncode:  # what passed is of no interest
        lines = (done.stdout + done.stderr).splitlines()
        print("\n".join(line for line in lines if "\N{HEAVY CHECK MARK}" not in line))
    return done.returncode


# Each tells its findings; 0: none.
CHECKS = (check_lint, check_types, check_blanks, check_javascript)


def spread(tier, arguments):
    """How pytest's workers share the tests: a run of some named ones has but one worker."""
    if tier == "fast":
        return ["-n", str(os.cpu_count() or 2), "--dist", "worksteal"]
    # Most of the time is spent in browsers; a file's tests share their pages. In the order of the
    # folders the browsers' files come first, so that at the end no worker is left with a long one.
    words = ["-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder"]
    return [] if arguments else words


def main(arguments):
    tier = "fast" if arguments[:1] == ["fast"] else "full"
    environment.ensure(["-m", "tests", *arguments], extras=EXTRAS[tier])
    ensure_debian_packages(tier)
    failed = [check.__name__ for check in CHECKS if check()]
    if failed:
        environment.tell(f"failed, see above: {', '.join(failed)}")
    words = [*fast.selection(), *arguments[1:]] if tier == "fast" else arguments
    command = [sys.executable, "-m", "pytest", *spread(tier, arguments), *words]
    tests = subprocess.run(command, cwd=ROOT).returncode
    return 1 if failed else tests


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
