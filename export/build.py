"""One run of build.py: checkpoint -> packed model -> site."""

import contextlib
import sys
from pathlib import Path

from export import hosts, report, serve, site
from export.convert import open_model, pack_model, plan_model
from export.manifest import build_manifest, write_manifest
from export.shards import ShardWriter
from export.source import find_model
from export.staging import staging


def run(options, shard_bytes):
    """Does what the command line asks. Raises ExportError."""
    source = find_model(options.model, options.text_encoder_bits)
    model = open_model(source, options.text_encoder_bits)
    if options.dry_run:
        with progress(model, "reading") as done:
            plan_model(model, done)
        print_summary(model)
        tables = (report.storage_table, report.dropped_table, report.memory_table)
        print("\n" + "\n\n".join(table(model) for table in tables))
        return
    out = Path(options.out)
    weights_url = options.weights_url and options.weights_url.rstrip("/") + "/"
    with staging(out) as partial:
        download_bytes = write_model(partial, model, shard_bytes, weights_url)
        if not weights_url:
            hosts.check_total(options.host, download_bytes)
    print_summary(model)
    print(f"\n{out}: {download_bytes:,} bytes to download for a first picture")
    if options.serve is not None:
        serve.serve(out, options.serve, sys.stderr)


def write_model(folder, model, shard_bytes, weights_url):
    """Fills `folder` with the whole site. Returns the bytes that a first picture downloads."""
    (folder / "model").mkdir()
    writer = ShardWriter(folder / "model", shard_bytes)
    with contextlib.closing(writer), progress(model, "packing") as done:
        tensors = pack_model(model, writer, done)
    manifest = build_manifest(model, writer.shards, tensors, weights_url)
    write_manifest(folder / "model" / "manifest.json", manifest)
    shards = sum(shard["bytes"] for shard in writer.shards)
    download_bytes = shards + len(model.tokenizer.file)
    site.write_site(folder, model, download_bytes, weights_url)
    return download_bytes


def progress(model, verb):
    return contextlib.closing(report.Progress(model, verb))


def print_summary(model):
    config = model.components["transformer"].layout.name
    print(f"{model.name}: {model.family.NAME}, {model.variant}, {config}\n")
    print(report.components_table(model))
