"""The pinned TypeScript compiler, from npm: a program for each kind of machine; no Node.js."""

import platform
import shutil
import subprocess
import tarfile

from export import npm
from export.errors import ExportError

VERSION = "7.0.2"
PACKAGE = "@typescript/typescript-"
INTEGRITIES = {  # sha512, base64, as npm tells them
    "linux-x64":
    "EYdf2cNg7rgCWJnxCdJ+F3V39O8ihb37eHAu1LK8oAFizgTQbPOK7zHHXbPt8rX24COqODXeI3sIf0fCXG7H/A==",
    "linux-arm64":
    "Qh4eU4/y3yDjnfjjyPYihMj5/ODIlmt+Bzu17OI+fiSRDW57QmU5SiN63exPRNJPKUzcc1INa1NXdrJ+MqHjUQ==",
    "darwin-arm64":
    "gowzar9MwS/aRWp6f3a4KUqzRjAZjOsmGNCM6LcTgXum+dBfgsBVMN+AgvOCCbguXyick6LJhpBszxMebJ8syA==",
    "darwin-x64":
    "SZ9xZInqApNlNGc9s0W1VSsktYSOe9cFqNOIqmN1Gs8SmkjKZYFt017G4VwPxASInODuAdbTW7sXiFUf893RgA==",
    "win32-x64":
    "0BQ3HkAHHlKLSp1qRvf3SUhGpGsDuhB/jgFw75guyqbxJqEaS0Cw/VFO8i2nHglJUzQCRtMMR/IBAKE3ETMC4g==",
}
SYSTEMS = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}
PROCESSORS = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def tsc(*arguments):
    """Runs the compiler; its exit status and what it said."""
    command = [str(program()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


def program():
    """The compiler's path; fetched and unpacked once."""
    machine = kind_of_machine()
    folder = npm.CACHE / f"typescript-{VERSION}-{machine}"
    if not folder.exists():
        package = npm.fetch(PACKAGE + machine, VERSION, INTEGRITIES[machine])
        draft = folder.with_name(f"{folder.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        with tarfile.open(package) as archive:
            archive.extractall(draft, filter="data")
        draft.rename(folder)
    return folder / "package" / "lib" / ("tsc.exe" if machine.startswith("win32") else "tsc")


def kind_of_machine():
    system, processor = platform.system(), platform.machine()
    machine = f"{SYSTEMS.get(system)}-{PROCESSORS.get(processor)}"
    if machine not in INTEGRITIES:
        raise ExportError(
            f"TypeScript {VERSION}: no compiler is pinned for {system} on {processor}, expected "
            f"one of {', '.join(INTEGRITIES)}; add its integrity to {__file__}")
    return machine
