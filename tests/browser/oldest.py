"""The oldest Chromium that draws, itself: an npm package holds it, packed by Brotli."""

import shutil
import subprocess
import tarfile

from export import npm

MAJOR = 113
PACKAGE, VERSION = "@sparticuz/chromium", "113.0.1"
INTEGRITY = (  # sha512, base64, as npm tells it
    "m64Nc58YObfCYkPbc8EBsnhWCFaw02dbXhWNOmx+OYoIPtIRar+reGYyAeGC0HD9RUZfPEwMHHSZ8MFxdSWXZQ==")
FLAGS = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
         "--use-vulkan=swiftshader", "--use-angle=swiftshader", "--ignore-gpu-blocklist"]
UNPACK = """
const [, from, to] = process.argv;
const { brotliDecompressSync } = require('node:zlib');
const { readFileSync, writeFileSync } = require('node:fs');
writeFileSync(to, brotliDecompressSync(readFileSync(from)));
"""


def fetch():
    """The program's path; fetched and unpacked once."""
    folder = npm.CACHE / f"chromium-{MAJOR}"
    if not folder.exists():
        unpack(npm.fetch(PACKAGE, VERSION, INTEGRITY), folder)
    return folder / "chromium"


def unpack(package, folder):
    """Chromium and its SwiftShader beside it, whole or not at all."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    with tarfile.open(package) as archive:
        for name in ("chromium", "swiftshader.tar"):
            packed = draft / f"{name}.br"
            with archive.extractfile(f"package/bin/{name}.br") as source:
                packed.write_bytes(source.read())
            subprocess.run(["node", "-e", UNPACK, str(packed), str(draft / name)], check=True)
            packed.unlink()
    with tarfile.open(draft / "swiftshader.tar") as archive:
        archive.extractall(draft, filter="data")
    (draft / "swiftshader.tar").unlink()
    (draft / "chromium").chmod(0o755)
    draft.rename(folder)
