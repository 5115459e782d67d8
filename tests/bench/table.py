"""The bench's results as text."""

HEADER = ("", "median", "spread", "samples", "GFLOP/s", "error", "f32 : it", "best : it")


def format_results(results):
    """Rows of ops, then pictures. Ratios: the engine's milliseconds over onnxruntime's."""
    lines = [heading(results), ""]
    for row in results["rows"]:
        cells = [cells_of(line, row) for line in row.get("lines", [])]
        if "failed" in row:
            cells = [(f"failed: {row['failed']}", *[""] * 7)]
        calls = f", {row['calls']}x a picture" if "calls" in row else ""
        lines += [*aligned([(f"{row['id']}: {row['label']}{calls}", *HEADER[1:]), *cells]), ""]
    for picture in results["pictures"]:
        if "failed" in picture:
            lines += [f"pictures, {picture['by']}: failed: {picture['failed']}", ""]
            continue
        title = (f"{picture['model']}, {picture['width']}x{picture['height']}, "
                 f"{picture['steps']} steps, {picture['by']}: "
                 f"peak {picture['peakBytes'] / 1e6:.1f} MB, WebAssembly's "
                 f"{picture['wasmBytes'] / 1e6:.1f} MB")
        cells = [(f"  {line['name']}", *timing_of(line["timing"])) for line in picture["lines"]]
        lines += [*aligned([(title, *HEADER[1:4]), *cells]), ""]
    return "\n".join(lines)


def heading(results):
    adapter = results["adapter"]
    named = " ".join(filter(None, (adapter[key] for key in
                                   ("vendor", "architecture", "description"))))
    features = ", ".join(name for name in ("shader-f16", "subgroups")
                         if name in results["features"]) or "no extra features"
    theirs = f"; onnxruntime-web {results['ort']}, {results['threads']} threads" \
        if "ort" in results else ""
    return f"{named}; {features}{theirs}; {results['taken']}"


def cells_of(line, row):
    name = f"  {line['name']}"
    if "failed" in line:
        return (f"{name}: failed: {line['failed'].splitlines()[0]}", *[""] * 7)
    if line["wrong"]:
        name += " (WRONG)"
    ratios = ("", "") if line["kind"] == "ours" or line["wrong"] else ratios_to(line, row)
    return (name, *timing_of(line["timing"]), f"{line['gflops']:.3g}", f"{line['error']:.1e}",
            *ratios)


def ratios_to(line, row):
    """The engine's time over this line's: of its fastest f32 kernel, and of its fastest one."""
    ours = [one for one in row["lines"] if one["kind"] == "ours" and not one.get("wrong", True)]
    exact = [one for one in ours if one["precision"] == "f32"]
    theirs = line["timing"]["medianMs"]
    return tuple(
        f"{min(one['timing']['medianMs'] for one in some) / theirs:.2f}" if some else ""
        for some in (exact, ours))


def timing_of(timing):
    samples = str(timing["samples"]) + (f" of {timing['runs']}" if timing["runs"] > 1 else "")
    return (f"{timing['medianMs']:.3g} ms", f"{timing['leastMs']:.3g} to {timing['mostMs']:.3g}",
            samples)


def aligned(rows):
    """The first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in
                                                  zip(row[1:], widths[1:], strict=True))]).rstrip()
            for row in rows]


def has_failures(results):
    """Whether the engine failed, or computed something wrongly; what others did is in the table."""
    lines = [line for row in results["rows"] for line in row.get("lines", [row])]
    ours = [one for one in lines if one.get("kind") != "theirs"]
    return any("failed" in one or one.get("wrong") for one in [*ours, *results["pictures"]])
