"""One run of build.py: checkpoint -> packed model -> site."""

import contextlib
import sys
import time
from pathlib import Path

from export import hosts, report, serve, site
from export.fingerprint import fingerprint, is_current, record
from export.manifest import build_manifest, write_manifest
from export.model import pack_model, plan_model
from export.opening import open_model
from export.shards import ShardWriter
from export.source import find_model
from export.staging import remove_leftovers, staging


def run(options, shard_bytes):
    """Does what the command line asks. Raises ExportError."""
    source = find_model(options.model, options.text_encoder_bits)
    if options.dry_run:
        dry_run(open_model(source, options.text_encoder_bits))
        return
    out = Path(options.out)
    weights_url = options.weights_url and options.weights_url.rstrip("/") + "/"
    told = [options.text_encoder_bits, options.host, shard_bytes, weights_url,
            options.onnx, options.onnx_only]  # fmt: skip
    digest = fingerprint(source, told)
    if is_current(out, digest):
        remove_leftovers(out)
        print(f"{out}: is this model already, nothing to do (delete it to build it again)")
        finish(options, out)
        return
    start = time.monotonic()
    model = open_model(source, options.text_encoder_bits)
    with staging(out) as partial:
        if not options.onnx_only:
            write_model(partial, model, shard_bytes, weights_url)
            if not weights_url:
                hosts.check_total(options.host, model.first_bytes + model.on_demand_bytes)
        if options.onnx or options.onnx_only:
            write_onnx(partial / "onnx", model)
    record(out, digest)
    seconds = time.monotonic() - start
    print_summary(model)
    if options.onnx or options.onnx_only:
        print("\n" + report.onnx_table(model, out / "onnx"))
    if not options.onnx_only:
        print(f"\n{out}: {model.first_bytes:,} bytes to download for a first picture")
    rate = sum(c.source_bytes for c in model.components.values()) / 1e6 / seconds
    print(f"written in {seconds:.1f} s, {rate:,.0f} MB/s of the source")
    finish(options, out)


def dry_run(model):
    """Prints what would be written."""
    with progress(model, "reading") as done:
        plan_model(model, done)
    print_summary(model)
    tables = (report.download_table, report.denoiser_table, report.storage_table,
              report.dropped_table, report.memory_table)  # fmt: skip
    print("\n" + "\n\n".join(table(model) for table in tables))


def finish(options, out):
    if options.serve is not None:
        serve.serve(out, options.serve, sys.stderr)


def write_model(folder, model, shard_bytes, weights_url):
    """Fills `folder` with the whole site."""
    (folder / "model").mkdir()
    writer = ShardWriter(folder / "model", shard_bytes)
    with contextlib.closing(writer), progress(model, "packing") as done:
        tensors = pack_model(model, writer, done)
    manifest = build_manifest(model, writer.shards, tensors, weights_url)
    write_manifest(folder / "model" / "manifest.json", manifest)
    site.write_site(folder, model, weights_url)


def write_onnx(folder, model):
    """The model as ONNX graphs. They alone need the onnx package, so it is imported here."""
    from export.onnx.bundle import write_bundle

    with progress(model, "writing ONNX") as done:
        write_bundle(folder, model, done)


def progress(model, verb):
    return contextlib.closing(report.Progress(model, verb))


def print_summary(model):
    config = model.components["transformer"].layout.name
    print(f"{model.name}: {model.family.NAME}, {model.variant}, {config}\n")
    print(report.components_table(model))
