"""Limits of the static hosts that a site may go to."""

from dataclasses import dataclass

from export.errors import ExportError
from export.packing.shards import ALIGNMENT, MIB


@dataclass(frozen=True)
class Host:
    shard_mib: int  # what we choose
    most_shard_mib: int  # what may be chosen
    most_file_mib: int | None = None  # what the host takes in one file
    most_bytes: int | None = None  # of the whole site
    most_files: int | None = None


HOSTS = {
    "generic": Host(64, 1024),  # any folder: a disk has no limits, and ONNX graphs have 2 GB files
    "hf": Host(64, 1024, 1024, most_bytes=1_000_000_000),
    "cloudflare-pages": Host(24, 25, 25, most_files=20_000),
    "github-pages": Host(64, 95, 95, most_bytes=900_000_000),
}
REMEDY = {
    "hf": "keep the weights in a model repository (--publish with --weights-repo), or elsewhere "
    "(--weights-url)",
}
ELSEWHERE = "keep the weights elsewhere and name the place with --weights-url"


def shard_bytes(host: str, mib: int | None = None) -> int:
    """Bytes of the largest shard, a multiple of the alignment. Raises ExportError."""
    limits = HOSTS[host]
    if mib is None:
        mib = limits.shard_mib
    if not ALIGNMENT / MIB <= mib <= limits.most_shard_mib:
        raise ExportError(
            f"--shard-mib {mib:g}: expected more than 0 and at most {limits.most_shard_mib} "
            f"for --host {host}"
        )
    return int(mib * MIB) // ALIGNMENT * ALIGNMENT


def limits_total(host: str) -> bool:
    return bool(HOSTS[host].most_bytes or HOSTS[host].most_files)


def check(host: str, sizes: dict[str, int]) -> None:
    """Refuses a site that the host would refuse. sizes: {path: bytes} of all of its files.

    Raises ExportError.
    """
    limits, remedy = HOSTS[host], REMEDY.get(host, ELSEWHERE)
    most = limits.most_file_mib and limits.most_file_mib * MIB
    for path, size in sizes.items():
        if most and size > most:
            raise ExportError(
                f"--host {host}: {path} has {size:,} bytes, the host takes at most {most:,} in "
                f"one file; {remedy}"
            )
    total = sum(sizes.values())
    if limits.most_bytes and total > limits.most_bytes:
        raise ExportError(
            f"--host {host}: the site takes {total:,} bytes, the host at most "
            f"{limits.most_bytes:,}; {remedy}"
        )
    if limits.most_files and len(sizes) > limits.most_files:
        raise ExportError(
            f"--host {host}: the site has {len(sizes):,} files, the host takes at most "
            f"{limits.most_files:,}; choose a larger --shard-mib, or {remedy}"
        )
