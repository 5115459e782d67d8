"""Limits of the static hosts that a site may go to."""

from dataclasses import dataclass

from export.errors import ExportError
from export.shards import ALIGNMENT, MIB


@dataclass(frozen=True)
class Host:
    shard_mib: int  # what we choose
    most_shard_mib: int  # what the host takes in one file
    most_bytes: int | None = None  # of the whole site


HOSTS = {
    "generic": Host(64, 1024),
    "hf": Host(64, 1024),
    "cloudflare-pages": Host(24, 25),
    "github-pages": Host(64, 95, 900_000_000),
}


def shard_bytes(host, mib=None):
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


def check_total(host, total_bytes):
    """Refuses a model that the host would refuse after the upload."""
    most = HOSTS[host].most_bytes
    if most and total_bytes > most:
        raise ExportError(
            f"--host {host}: the model takes {total_bytes:,} bytes, the host at most {most:,}; "
            "put model/ elsewhere and name it with --weights-url"
        )
