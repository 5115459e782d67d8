"""Files that are either whole or not there."""

import json
import pickle
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from export.errors import ExportError
from train.ternarize import processes

UNREADABLE = (OSError, TypeError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError)
REPORT = "report"  # folder inside a student's folder, by which an earlier one is known


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)


def save_tensors(path, tensors):
    """A safetensors file, its tensors in the order of their names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, path,
              metadata={"format": "pt"})


def replace_folder(folder, partial):
    """Puts `partial` in the place of `folder`, which is missing only between two renames."""
    previous = folder.with_name(folder.name + ".previous")
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    try:
        partial.rename(folder)
    except BaseException:
        if previous.exists():
            previous.rename(folder)
        raise
    shutil.rmtree(previous, ignore_errors=True)


def refuse_foreign(out):
    """Raises ExportError where --out holds something that no earlier run wrote."""
    if out.exists() and not out.is_dir():
        raise ExportError(f"--out {out}: is a file, expected a folder; name another")
    if out.exists() and any(out.iterdir()) and not (out / REPORT / "report.json").exists():
        raise ExportError(
            f"--out {out}: is not empty and holds no report of an earlier run, so it is left "
            "alone; name another folder, or empty it"
        )


def save_checkpoint(folder, state):
    """Writes each process's state, then lets the new checkpoint take the old one's place."""
    partial = folder.with_name(folder.name + ".partial")
    if processes.rank() == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    processes.wait()
    torch.save(state, partial / own_file())
    processes.wait()
    if processes.rank() == 0:
        replace_folder(folder, partial)
    processes.wait()


def load_checkpoint(folder):
    """This process's state in main memory, or None where nothing was saved. Raises ExportError."""
    found = [f for f in (folder, folder.with_name(folder.name + ".previous")) if f.is_dir()]
    if not found:
        return None
    path = found[0] / own_file()
    others = sorted(other.name for other in found[0].glob("process-*.pt"))
    if others and path.name not in others:
        raise ExportError(
            f"{found[0]}: was saved by other processes (got {others[0]}, expected {path.name}); "
            "go on with as many, or --restart"
        )
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:120]
        raise ExportError(
            f"{path}: the checkpoint cannot be read ({reason}); --restart begins anew"
        ) from None


def own_file():
    return f"process-{processes.rank()}-of-{processes.count()}.pt"


def folder_bytes(folder):
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
