"""One run of build.py: checkpoint -> packed model -> site."""

import contextlib
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from export import hosts, publish, report, serve, site
from export.fingerprint import fingerprint, is_current, record
from export.manifest import build_manifest
from export.model import pack_model, plan_model
from export.opening import open_model
from export.places import Places, weights_folder
from export.preview import fit_preview
from export.shards import ShardWriter
from export.source import find_model
from export.staging import remove_leftovers, staging


def run(options, shard_bytes):
    """Does what the command line asks. Raises ExportError."""
    places = Places.of(options)
    if options.publish and not options.dry_run:
        publish.check_token()
    source = find_model(options.model, options.text_encoder_bits)
    choices = {"text_encoder_bits": options.text_encoder_bits,
               "with_image_input": options.with_image_input}  # fmt: skip
    if options.dry_run:
        dry_run(open_model(source, **choices), options, shard_bytes, places)
        return
    out = Path(options.out)
    beside = [weights_folder(out)] if places.weights_url and not options.onnx_only else []
    told = [choices, options.host, shard_bytes, asdict(places), options.onnx, options.onnx_only]
    digest = fingerprint(source, told)
    if is_current(out, digest, beside):
        for folder in (out, *beside):
            remove_leftovers(folder)
        print(f"{out}: is this model already, nothing to do (delete it to build it again)")
    else:
        start = time.monotonic()
        model = open_model(source, **choices)
        write(out, beside, model, options, shard_bytes, places)
        record(out, digest, beside)
        print_summary(model)
        print_written(out, beside, model, options, time.monotonic() - start)
    finish(options, out, beside, digest, places)


def write(out, beside, model, options, shard_bytes, places):
    """Writes the site and, where it does not carry them, the weights beside it."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(staging(out))
        apart = [stack.enter_context(staging(path)) for path in beside]
        if options.onnx or options.onnx_only:
            write_onnx(folder / "onnx", model)
        if not options.onnx_only:
            write_site(folder, apart, model, options, shard_bytes, places)
        hosts.check(options.host, site.list_files(folder))


def write_site(folder, apart, model, options, shard_bytes, places):
    if not apart and hosts.limits_total(options.host):
        plan(model)
        check_plan(model, options, shard_bytes, places)
    shards = apart[0] if apart else folder / "model"
    shards.mkdir(exist_ok=True)
    manifest = write_shards(shards, model, shard_bytes)
    if options.onnx:
        manifest |= onnx_entry(folder / "onnx")
    if apart:
        site.write_weights(apart[0], model, manifest, places)
    site.write_site(folder, model, manifest, places)


def write_shards(folder, model, shard_bytes):
    """Packs the model into shards; its manifest."""
    writer = ShardWriter(folder, shard_bytes)
    with contextlib.closing(writer), progress(model, "packing") as done:
        tensors = pack_model(model, writer, done)
    preview = fit_preview(model.components["autoencoder"])
    return build_manifest(model, writer.shards, tensors, preview)


def plan(model):
    with progress(model, "reading") as done:
        plan_model(model, done)


def check_plan(model, options, shard_bytes, places):
    """What the site and the shards will be: ({path: bytes}, [bytes of each shard]).

    Only the manifest's list of tensors is not counted. Raises ExportError where the host would
    refuse the site.
    """
    sizes = model.shard_sizes(shard_bytes)
    shards = {f"model/shard {i + 1} of {len(sizes)}": size for i, size in enumerate(sizes)}
    with tempfile.TemporaryDirectory() as folder:
        site.write_site(Path(folder), model, build_manifest(model, [], {}, None), places)
        files = site.list_files(Path(folder))
    hosts.check(options.host, files if places.weights_url else files | shards)
    return files, sizes


def dry_run(model, options, shard_bytes, places):
    """Prints what would be written, and what would be uploaded."""
    plan(model)
    print_summary(model)
    tables = (report.download_table, report.denoiser_table, report.storage_table,
              report.dropped_table, report.memory_table)  # fmt: skip
    print("\n" + "\n\n".join(table(model) for table in tables))
    files, shards = check_plan(model, options, shard_bytes, places)
    print("\n" + report.files_table(files, shards, bool(places.weights_url)))
    if options.publish:
        print("\n" + publish.foretell(places, options.private, files, shards))


def finish(options, out, beside, digest, places):
    if options.publish:
        try:
            publish.publish(places, options.private, out, beside)
        finally:  # the site may name its weights' commit now, and is whole in either case
            record(out, digest, beside)
    if options.serve is not None:
        serve.serve(out, options.serve, sys.stderr)


def write_onnx(folder, model):
    """The model as ONNX graphs. They alone need the onnx package, so it is imported here."""
    from export.onnx.bundle import write_bundle

    with progress(model, "writing ONNX") as done:
        write_bundle(folder, model, done)


def onnx_entry(folder):
    """What the manifest says of the graphs, if a page can draw from them."""
    from export.onnx.page import page_entry

    entry = page_entry(folder)
    return {"onnx": entry} if entry else {}


def progress(model, verb):
    return contextlib.closing(report.Progress(model, verb))


def print_summary(model):
    config = model.components["transformer"].layout.name
    print(f"{model.name}: {model.family.NAME}, {model.variant}, {config}\n")
    print(report.components_table(model))


def print_written(out, beside, model, options, seconds):
    if options.onnx or options.onnx_only:
        print("\n" + report.onnx_table(model, out / "onnx"))
    if not options.onnx_only:
        print(f"\n{out}: {model.first_bytes:,} bytes to download for a first picture")
    for folder in beside:
        print(f"{folder}: the weights, which the site in {out} fetches from elsewhere")
    rate = sum(c.source_bytes for c in model.components.values()) / 1e6 / seconds
    print(f"written in {seconds:.1f} s, {rate:,.0f} MB/s of the source")
