"""One run of build.py: checkpoint -> packed model -> site."""

import contextlib
import math
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export import report
from export.environment import tell
from export.errors import ExportError
from export.finding import find_model
from export.folder import disk, record, whole
from export.folder.fingerprint import check_unchanged, fingerprint, look_at
from export.folder.places import Places, Workshop, weights_folder
from export.folder.staging import Unwritable, locked, prepare, refuse_sources, staging, take
from export.opening import open_model
from export.packing.manifest import build_manifest
from export.packing.pack import pack_model, plan_model
from export.packing.shards import ShardWriter
from export.site import hosts, pages, publish, serve
from export.source.files import licences


@dataclass
class Job:
    """What a run writes: the site and, where it does not carry them, its weights beside it."""

    options: Any
    shard_bytes: int
    places: Places
    source: Any

    def __post_init__(self):
        out = Path(self.options.out)
        apart = self.places.weights_url and not self.options.onnx_only
        self.folders = [out, weights_folder(out)] if apart else [out]
        self.workshops = [Workshop(folder) for folder in self.folders]

    def open(self):
        model = open_model(self.source, text_encoder_bits=self.options.text_encoder_bits,
                           with_image_input=self.options.with_image_input)
        if self.options.onnx or self.options.onnx_only:
            from export.onnx.bundle import graphs_of

            graphs_of(model)  # raises ExportError where a part has none
        return model

    def look(self):
        """(files, digest): the source's files as they are now, and what the site follows from."""
        options = self.options
        told = [options.text_encoder_bits, options.with_image_input, options.host,
                self.shard_bytes, asdict(self.places), options.onnx, options.onnx_only]
        files = look_at(self.source, self.workshops)
        return files, fingerprint(self.source, files, told)


def run(options, shard_bytes, interrupts):
    """Does what the command line asks. Raises ExportError."""
    places = Places.of(options)
    if options.publish and not options.dry_run:
        publish.check_token()
    source = find_model(options.model, options.text_encoder_bits, options.base)
    job = Job(options, shard_bytes, places, source)
    model = job.open()  # at once: a folder that holds none is not looked through
    if options.dry_run:
        dry_run(model, options, shard_bytes, places)
        return
    for workshop in job.workshops:
        refuse_sources(workshop.out)
    try:
        with locked(job.workshops) as clean:
            digest = bring(job, clean, interrupts)
            if options.publish:
                upload(job, digest)
    except Unwritable:
        if options.publish or not record.is_current(job.workshops, job.look()[1]):
            raise
        tell_current(job)
    if options.serve is not None:
        serve.serve(job.folders[0], options.serve, sys.stderr)


def bring(job, clean, interrupts):
    """Sees to it that the folders hold the job's site, whole; its fingerprint."""
    for workshop in job.workshops:
        prepare(workshop, clean)
    files, digest = job.look()
    if record.is_current(job.workshops, digest):
        for workshop in job.workshops:
            record.refresh(workshop, digest)
        tell_current(job)
        return digest
    start = time.monotonic()
    model = job.open()  # again, now that `files` is known: what is read is what was looked at
    try:
        aside = write(job, model, files, digest, interrupts)
    except ExportError:
        check_unchanged(job.source, files, job.workshops)
        raise
    for name, place in aside:
        tell(f"{name} was not as the last build left it, or yours; it is now {place}")
    print_summary(model)
    print_written(job.folders, model, job.options, time.monotonic() - start)
    return digest


def write(job, model, files, digest, interrupts):
    """Writes the folders. What of theirs was in the way is [(path, where it is now), ...]."""
    options, outs = job.options, [workshop.out for workshop in job.workshops]
    disk.check_readable(path for folder in job.source.folders for path in licences(folder))
    with staging(job.workshops, least_bytes(model)) as stages, disk.telling(*outs):
        folder, *apart = (stage.partial for stage in stages)
        if options.onnx or options.onnx_only:
            write_onnx(folder / "onnx", model)
        if not options.onnx_only:
            write_site(folder, apart, model, options, job.shard_bytes, job.places)
        for stage in stages:
            whole.check(stage.partial)
            stage.sort_out()
        hosts.check(options.host, stages[0].sizes | stages[0].kept_sizes())
        check_unchanged(job.source, files, job.workshops)
        with interrupts.held(f"{job.folders[0]} is written"):
            take(stages)
            for stage in stages:
                record.write(stage.workshop, digest, stage.sizes)
        return [moved for stage in stages for moved in stage.aside]


def least_bytes(model):
    """Bytes that the weights take at least: a bit each."""
    specs = (component.specs.values() for component in model.components.values())
    return sum(math.prod(spec.shape) for some in specs for spec in some) // 8


def write_site(folder, apart, model, options, shard_bytes, places):
    if not apart and hosts.limits_total(options.host):
        plan(model)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            check_plan(model, options, shard_bytes, places, Path(scratch))
    shards = apart[0] if apart else folder / "model"
    shards.mkdir(exist_ok=True)
    manifest = write_shards(shards, model, shard_bytes)
    if options.onnx:
        manifest |= onnx_entry(folder / "onnx", model)
    if apart:
        pages.write_weights(apart[0], model, manifest, places)
    pages.write_site(folder, model, manifest, places)


def write_shards(folder, model, shard_bytes):
    """Packs the model into shards; its manifest."""
    writer = ShardWriter(folder, shard_bytes)
    with contextlib.closing(writer), progress(model, "packing") as done:
        tensors = pack_model(model, writer, done)
    family = model.family
    preview = family.preview(model.components[family.autoencoder.name])
    return build_manifest(model, writer.shards, tensors, preview)


def plan(model):
    with progress(model, "reading") as done:
        plan_model(model, done)


def check_plan(model, options, shard_bytes, places, scratch):
    """What the site and the shards will be: ({path: bytes}, [bytes of each shard]).

    Only the manifest's list of tensors is not counted. scratch: an empty folder. Raises ExportError
    where the host would refuse the site.
    """
    sizes = model.shard_sizes(shard_bytes)
    shards = {f"model/shard {i + 1} of {len(sizes)}": size for i, size in enumerate(sizes)}
    pages.write_site(scratch, model, build_manifest(model, [], {}, None), places)
    files = pages.list_files(scratch)
    hosts.check(options.host, files if places.weights_url else files | shards)
    return files, sizes


def dry_run(model, options, shard_bytes, places):
    """Prints what would be written, and what would be uploaded."""
    plan(model)
    print_summary(model)
    tables = (report.download_table, report.denoiser_table, report.storage_table,
              report.dropped_table, report.memory_table)
    print("\n" + "\n\n".join(table(model) for table in tables))
    with disk.temporary_folder() as scratch:
        files, shards = check_plan(model, options, shard_bytes, places, scratch)
    print("\n" + report.files_table(files, shards, bool(places.weights_url)))
    if options.publish:
        print("\n" + publish.foretell(places, options.private, files, shards))


def upload(job, digest):
    """Publishes the folders, whose record then has the commit that the site may name."""
    out, *beside = job.folders
    try:
        publish.publish(job.places, job.options.private, out, beside)
    finally:  # the site is whole in either case
        for workshop in job.workshops:
            record.write(workshop, digest)


def write_onnx(folder, model):
    """The model as ONNX graphs. They alone need the onnx package, so it is imported here."""
    from export.onnx.bundle import write_bundle

    with progress(model, "writing ONNX") as done:
        write_bundle(folder, model, done)


def onnx_entry(folder, model):
    """What the manifest says of the graphs, if a page can draw from them."""
    from export.onnx.page import page_entry

    entry = page_entry(folder, model.components)
    return {"onnx": entry} if entry else {}


def progress(model, verb):
    return contextlib.closing(report.Progress(model, verb))


def print_summary(model):
    layout = model.denoiser.layout.name
    rest = f", what it lacks from {model.source.base.name}" if model.source.base else ""
    print(f"{model.name}: {model.family.name}, {model.variant}, {layout}{rest}\n")
    print(report.components_table(model))


def tell_current(job):
    print(f"{job.folders[0]}: is this model already, nothing to do (delete it to build it again)")


def print_written(folders, model, options, seconds):
    out, *beside = folders
    if options.onnx or options.onnx_only:
        print("\n" + report.onnx_table(model, out / "onnx"))
    if not options.onnx_only:
        print(f"\n{out}: {model.first_bytes:,} bytes to download for a first picture")
    for folder in beside:
        print(f"{folder}: the weights, which the site in {out} fetches from elsewhere")
    rate = sum(c.source_bytes for c in model.components.values()) / 1e6 / seconds
    print(f"written in {seconds:.1f} s, {rate:,.0f} MB/s of the source")
