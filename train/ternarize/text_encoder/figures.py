"""Figures of an encoder: its rows against the teacher's on held-out texts, and the report."""

import torch
from torch.nn import functional

from train.ternarize import processes
from train.ternarize.files import write_json
from train.ternarize.plot import chart
from train.ternarize.report import layer_rows, number, over_layers, size_rows, stage_row, table

OWN, PADDING = "text", "padding"


@torch.no_grad()
def held_out(run, texts):
    """{rows, tap, cosine, error} of the rows that are read, a text's own ones before padding.

    error: of all such rows together, the norm of the difference over the norm of the teacher's, as
    tests.encoder_bits has it; cosine: the mean of the rows'. The student must be loaded.
    """
    taps = run.opened.encoder.taps
    sums = torch.zeros(2, len(taps), 4, dtype=torch.float64)  # cosine, error, size, rows
    size, count = run.settings.micro_batch, processes.count()
    for first in range(0, len(texts), size * count):
        at = first + processes.rank() * size
        chosen = [texts[min(i, len(texts) - 1)] for i in range(at, at + size)]
        real = torch.tensor([i < len(texts) for i in range(at, at + size)], device=run.device)
        batch = run.batch(chosen)
        wanted, got = (run.compute(each, batch) for each in (run.teacher, run.student.transformer))
        for kind, rows in enumerate((batch.own, batch.read & ~batch.own)):
            rows = rows & real[:, None]
            one, other = got[rows].double(), wanted[rows].double()  # [rows, taps, D]
            parts = (functional.cosine_similarity(one, other, dim=-1).sum(0),
                     (one - other).square().sum((0, 2)), other.square().sum((0, 2)),
                     rows.sum().expand(len(taps)).double())
            sums[kind] += torch.stack(parts, -1).cpu()
    sums = processes.total(sums.to(run.device)).cpu()
    return [{"rows": kind, "tap": tap, "cosine": cosine / rows, "error": (error / size) ** 0.5}
            for kind, each in zip((OWN, PADDING), sums.tolist(), strict=True)
            for tap, (cosine, error, size, rows) in zip(taps, each, strict=True) if rows]


def write_report(folder, run, sizes):
    report = figures(run, sizes)
    write_json(folder / "report.json", report)
    for name, svg in charts(report).items():
        (folder / name).write_text(svg, encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")


def figures(run, sizes):
    """All figures of a run as JSON values; sizes: component -> {teacher, student} bytes."""
    parameters = run.student.parameters
    return {
        "settings": run.settings.as_json(), "encoder": run.family.kind.name,
        "group": run.family.group, "taps": list(run.opened.encoder.taps),
        "prompts": {"trained": run.prompts.trained, "held_out": run.prompts.held_out},
        "parameters": {"linears and norms": sum(p.numel() for p in parameters.values()),
                       "low_bit": sum(parameters[name].numel() for name in run.student.scales)},
        "bytes": sizes, "stages": run.record["stages"], "curves": run.record["curves"],
    }


def charts(report):
    """File name -> SVG."""
    files = {}
    for stage in ("train", "finish"):
        curve = report["curves"].get(stage)
        if curve:
            at = [entry["step"] for entry in curve]
            shown = {"loss": "loss", "row error": "rows", "feature error": "features",
                     "code flips a step": "flips"}
            series = {name: (at, [e[key] for e in curve]) for name, key in shown.items()}
            files[f"{stage}.svg"] = chart(f"Stage {stage}", "step", "relative", series, log=True)
    for key, title, label in (("snr", "Weight signal-to-noise ratio", "dB"),
                              ("zeros", "Zero share", "share")):
        series = {stage["stage"]: over_layers(stage, key) for stage in report["stages"]}
        files[f"{key}.svg"] = chart(title, "layer", label, series)
    return files


def markdown(report):
    bits, stages = report["settings"]["bits"], report["stages"]
    skipped = ", ".join(report["settings"]["skip"]) or "none"
    names = [stage["stage"] for stage in stages]
    points = [[point["rows"], str(point["tap"]),
               *(number(stage["held_out"][i][key], 4)
                 for key in ("cosine", "error") for stage in stages)]
              for i, point in enumerate(stages[0]["held_out"])]
    return "\n".join([
        f"# Report: {report['encoder']}, {bits}, groups of {report['group']}\n",
        f"{report['parameters']['low_bit']:,} weights are {bits}, the table of embeddings has "
        f"{report['settings']['text_encoder_bits']} bits. {report['prompts']['trained']:,} prompts "
        f"trained it, {report['prompts']['held_out']:,} others measured it. Stages left out: "
        f"{skipped}.\n",
        "## Stages\n",
        "SNR is of the weights against the full-precision ones; flips are codes that changed in "
        "the stage; cosine and relative error are of the rows that the denoiser reads, on held-out "
        "prompts.\n",
        table(["stage", "SNR (dB)", "zero share", "code flips", "cosine", "relative error"],
              [stage_row(stage) for stage in stages]),
        "## Sizes\n",
        table(["component", "teacher (MB)", "student (MB)"], size_rows(report["bytes"])),
        "## Rows by tap, held-out prompts\n",
        table(["rows", "tap", *(f"cosine, {name}" for name in names),
               *(f"error, {name}" for name in names)], points),
        "## Curves\n",
        "".join(f"![{name}]({name}.svg)\n\n" for name in ("train", "finish")
                if report["curves"].get(name)),
        "## Layers\n",
        "![SNR](snr.svg)\n\n![zero share](zeros.svg)\n",
        table(["layer", *(f"{what}, {name}" for what in ("SNR (dB)", "zeros", "flips")
                          for name in names)], layer_rows(stages)),
    ])
