"""What build.py tells: progress on stderr, tables for stdout."""

import sys

from tqdm import tqdm

LARGEST_IMAGE = (1024, 1024)  # a larger reference image is made this large


class Progress:
    """Called with its component for each finished tensor.

    A bar on a terminal; elsewhere one plain line a component.
    """

    def __init__(self, model, verb, stream=None):
        self.stream = stream or sys.stderr
        self.verb = verb
        self.component = None
        self.bar = tqdm(
            total=sum(len(c.specs) for c in model.components.values()),
            file=self.stream, unit="tensor", leave=False, disable=not self.stream.isatty(),
        )

    def __call__(self, component):
        if component is not self.component:
            self.component = component
            line = f"{self.verb} {component.name}"
            self.bar.set_description(line)
            if self.bar.disable:
                print(f"{line}: {len(component.specs)} tensors", file=self.stream, flush=True)
        self.bar.update()

    def close(self):
        self.bar.close()


def table(rows, left=(0,)):
    """Rows of text, the first a heading; columns `left` to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def components_table(model):
    """component, parameters, source bytes, packed bytes (of a first picture), bits per weight."""
    rows = [("component", "parameters", "source bytes", "packed bytes", "bits per weight")]
    components = list(model.components.values())
    for c in components:
        rows.append(component_row(c.name, c.parameters, c.source_bytes, c.packed_bytes))
    rows.append(component_row(
        "total",
        sum(c.parameters for c in components),
        sum(c.source_bytes for c in components),
        sum(c.packed_bytes for c in components),
    ))
    return table(rows)


def onnx_table(model, folder):
    """Bytes of the ONNX graphs in `folder`, beside what a first picture downloads of the site."""
    from export.onnx.bundle import GRAPHS, graph_bytes

    rows = [("component", "packed bytes", *(f"onnx/*/{file}" for file in GRAPHS))]
    sizes = graph_bytes(folder, model.components)
    for c in model.components.values():
        graphs = (f"{sizes[c.name][file]:,}" for file in GRAPHS)
        rows.append((c.name, f"{c.packed_bytes:,}", *graphs))
    totals = (sum(component[file] for component in sizes.values()) for file in GRAPHS)
    packed = sum(c.packed_bytes for c in model.components.values())
    rows.append(("total", f"{packed:,}", *(f"{total:,}" for total in totals)))
    return table(rows)


def component_row(name, parameters, source_bytes, packed_bytes):
    bits = f"{8 * packed_bytes / parameters:.2f}"
    return (name, f"{parameters:,}", f"{source_bytes:,}", f"{packed_bytes:,}", bits)


def download_table(model):
    """What a visitor downloads, and when."""
    for_images = model.image_input_bytes
    rows = [
        ("download", "bytes"),
        ("the tokenizer", f"{model.tokenizer_bytes:,}"),
        ("a first picture, with it", f"{model.first_bytes:,}"),
        ("other sizes and numbers of steps", f"{model.on_demand_bytes - for_images:,}"),
    ]
    return table([*rows, ("reference images", f"{for_images:,}")] if for_images else rows)


def denoiser_table(model):
    """Bits of a weight of the denoiser, over all of its bytes, and how many 16-bit ones that is."""
    denoiser = model.denoiser
    rows = [("denoiser", "bytes", "bits per weight", "smaller than 16 bits")]
    first, later = denoiser.packed_bytes, denoiser.on_demand_bytes
    for name, size in (("for a first picture", first), ("with all on demand", first + later)):
        bits = 8 * size / denoiser.parameters
        rows.append((name, f"{size:,}", f"{bits:.2f}", f"{16 / bits:.1f}x"))
    return table(rows)


def storage_table(model):
    """How the tensors of each component are stored."""
    rows = [("component", "storage", "tensors", "parameters", "packed bytes")]
    for c in model.components.values():
        for kind in sorted({s.kind for s in c.storages.values()}):
            storages = [s for s in c.storages.values() if s.kind == kind]
            rows.append((
                c.name, kind, f"{len(storages):,}",
                f"{sum(s.parameters for s in storages):,}",
                f"{sum(s.wire_bytes for s in storages):,}",
            ))
    return table(rows, left=(0, 1))


def dropped_table(model):
    """What stays behind, and why."""
    rows = [("left out", "tensors", "source bytes", "because")]
    for c in model.components.values():
        for why, sizes in sorted(c.dropped.items()):
            rows.append((c.name, f"{len(sizes):,}", f"{sum(sizes):,}", why))
    return table(rows, left=(0, 3))


def files_table(files, shards, apart):
    """Files of the site ({path: bytes}) and of its shards; `apart`: these lie elsewhere."""
    weights = "weights, in a folder beside" if apart else "weights, in model/"
    rows = [("written", "files", "bytes", "largest")]
    for name, sizes in (("site, weights apart", files.values()), (weights, shards)):
        rows.append((name, f"{len(sizes):,}", f"{sum(sizes):,}", f"{max(sizes):,}"))
    return table(rows)


def memory_table(model):
    """The most GPU memory that drawing takes, per size that the page offers.

    With image input also from as many reference images as it takes, of the largest size.
    """
    image_input = model.call.image_input
    columns = [("GPU memory", [])]
    if image_input:
        images = image_input["most"] * [LARGEST_IMAGE]
        columns.append((f"with {len(images)} images of {' x '.join(map(str, LARGEST_IMAGE))}",
                        images))
    rows = [("size", *(heading for heading, _ in columns))]
    for size in model.call.sizes:
        peaks = (model.peak_gpu_bytes(size, images) / (1 << 20) for _, images in columns)
        rows.append((" x ".join(map(str, size)), *(f"{peak:,.0f} MiB" for peak in peaks)))
    return table(rows)
