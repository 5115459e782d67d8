"""Gets the Python packages that a command needs; standard library only.

Where the running interpreter has them, nothing happens. Otherwise the command starts again in
.venv beside build.py, which is made if need be and kept at the versions of pyproject.toml.
"""

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from export import lock

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
RESTARTED = "TREFOIL_RESTARTED"


def requirements(extras=()):
    """The requirement lines of pyproject.toml: the extras' first, in their order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return list(dict.fromkeys(lines + project["dependencies"]))


def missing(lines, exact=False):
    """The requirements that this interpreter lacks; `exact`: also those in another version."""
    absent = []
    for line in lines:
        name, _, version = re.fullmatch(r"([\w.-]+)(==)?(.*)", line).groups()
        try:
            installed = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            absent.append(line)
            continue
        if exact and installed != version:
            absent.append(line)
    return absent


def ensure(arguments, extras=()):
    """Returns when the packages are there; otherwise installs them and restarts `arguments`.

    Exits with status 1 and a sentence when they cannot be had.
    """
    lines = requirements(extras)
    inside = Path(sys.prefix).resolve() == VENV.resolve()
    if not missing(lines, exact=inside):
        os.environ.pop(RESTARTED, None)
        return
    with alone():
        importlib.invalidate_caches()
        lacking = missing(lines, exact=inside)  # another run may have brought them meanwhile
        python = bring(lacking, inside)
    restart(python, arguments)


@contextlib.contextmanager
def alone():
    """Holds the environment against another run that makes or fills it."""

    def wait(holder):
        tell(f"another run ({holder}) is installing into {VENV}; waiting for it to end")

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # it cannot be written, which is told by those who try
            stack.enter_context(lock.hold([VENV.with_name(f"{VENV.name}.lock")], wait))
        yield


def bring(lacking, inside):
    """Makes the environment, or installs what it lacks; its interpreter."""
    python = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if inside and lacking:
        if os.environ.get(RESTARTED):
            fail(f"still missing after installing: {', '.join(lacking)}")
        tell(f"installing into {VENV}: {', '.join(lacking)}")
        install(python, lacking)
        os.environ[RESTARTED] = "1"
    elif not inside and not python.exists():
        tell(f"this Python lacks {', '.join(lacking)}; making {VENV} and going on in there")
        create_venv()
    return python


def restart(python, arguments):
    """Replaces this process; on Windows, where exec returns at once, waits for the new one."""
    command = [str(python), *arguments]
    if os.name == "nt":
        sys.exit(subprocess.run(command).returncode)
    os.execv(python, command)


def create_venv():
    """Makes VENV. Debian's python3 has no ensurepip; then its own pip, or python3-venv, serves."""
    if not os.access(ROOT, os.W_OK):
        fail(f"{ROOT} cannot be written, so the packages have no place; copy it elsewhere")
    with_pip = [sys.executable, "-m", "venv", VENV]
    if run_quietly(with_pip):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if not run_quietly([sys.executable, "-m", "pip", "--version"]):
        get_python_venv()
        if run_quietly(with_pip):
            return
        shutil.rmtree(VENV, ignore_errors=True)
    if not run_quietly([sys.executable, "-m", "venv", "--without-pip", VENV]):
        fail(f"{VENV} cannot be created with {sys.executable} -m venv; is the disk full?")


def get_python_venv():
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not (is_root() and shutil.which("apt-get")):
        fail(f"this Python has neither pip nor ensurepip; run as root: apt-get install {package}")
    tell(f"installing the Debian package {package}")
    if not install_debian([package]):
        fail(f"{package} could not be installed (see above); run: apt-get install {package}")


def install(python, lines):
    """pip-installs the lines into the environment, torch alone and before the others."""
    torch = [line for line in lines if line.startswith("torch==")]
    for batch in filter(None, (torch, [line for line in lines if line not in torch])):
        pip = [python, "-m", "pip"]
        if not run_quietly([*pip, "--version"]):
            pip = [os.path.realpath(python), "-m", "pip", "--python", python]
        command = [*pip, "install", "--quiet", "--disable-pip-version-check", *batch]
        result = subprocess.run([str(word) for word in command], stdout=sys.stderr)
        if result.returncode:
            fail(f"pip could not install {', '.join(batch)} (see above); is there a connection?")


def install_debian(packages):
    """apt-get install as root; whether it worked. Its output goes to stderr."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", *words], stdout=sys.stderr, env=environment).returncode:
            return False
    return True


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def run_quietly(command):
    result = subprocess.run([str(word) for word in command], capture_output=True)
    return result.returncode == 0


def tell(message):
    print(f"trefoil: {message}", file=sys.stderr, flush=True)


def fail(message):
    tell(message)
    sys.exit(1)
