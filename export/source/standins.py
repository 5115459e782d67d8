"""What may lie in a file's place after a download that was none: pointers, pages, nothing."""

import re
from pathlib import Path

from export.errors import ExportError

HEAD_BYTES = 1024
POINTERS = {
    b"version https://git-lfs.github.com/": ("git-lfs", "git lfs pull"),
    b"version https://hawser.github.com/": ("git-lfs", "git lfs pull"),
    b"# xet version": ("git-xet", "git xet checkout"),
    b"/annex/objects/": ("git-annex", "git annex get ."),
}
TEXT_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16; UTF-32's begins alike
JSON_STARTS = (b"{\0", b"\0{", b"\0\0\0{")
WEIGHTS = (".safetensors", ".gguf", ".pt")


def refuse_standin(path):
    """Raises ExportError, with what to do, when something else lies where a file should be."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise ExportError(
            f"{path}: is a link to {path.readlink()}, which is not there; download the file again "
            "(in the hub's cache: delete the link first)"
        )
    if path.exists() and not path.is_file():
        raise ExportError(f"{path}: is a folder or a device, expected a file")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        return  # what reads it says what it was for
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror})") from None
    found = recognise(head, path.suffix.lower())
    if found:
        raise ExportError(f"{path}: {found}")


def recognise(head, suffix):
    """What the first bytes of a file are instead, as a sentence's end; None where nothing tells."""
    if not head:
        return "is empty; download the file again"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for mark, (tool, command) in POINTERS.items():
        if text.startswith(mark):
            return f"is a {tool} pointer, not the file: run `{command}` in that folder"
    lower = text.lower()
    if lower.startswith((b"<!doctype html", b"<html", b"<head")) or (
        lower.startswith((b"<?xml", b"<!--")) and b"<html" in lower
    ):
        return (
            "is an HTML page, saved in place of the file; download the file itself (on Hugging "
            "Face its address has /resolve/, not /blob/)"
        )
    if lower.startswith(b"<?xml") or lower.startswith(b"<error"):
        code = re.search(rb"<code>\s*([\w.-]{1,60})", text, re.IGNORECASE)
        told = f" ({code[1].decode()})" if code else ""
        return f"is a server's error message in XML{told}, not the file; download it again"
    if suffix in WEIGHTS:
        return recognise_in_weights(head, suffix)
    if head.startswith(TEXT_MARKS) or head.startswith(JSON_STARTS):
        return "is text in UTF-16 or UTF-32, expected UTF-8; save it in that encoding"
    if not head.strip(b"\0"):
        return "holds zeros alone: a download that was not finished; download the file again"
    return None


def recognise_in_weights(head, suffix):
    if not head.strip(b"\0"):
        return "begins with zeros alone: a download that was not finished; download it again"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not all(c.isprintable() or c.isspace() for c in text):
        return None
    said = " ".join(text.split())
    said = said if len(said) <= 80 else said[:77] + "..."
    return f'is text ("{said}"), expected a {suffix} file; download the file itself'
