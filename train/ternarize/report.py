"""The report of a run: report.json with every figure, report.md to read, and its charts.

Nothing in it depends on the clock, so an interrupted run ends with the same report.
"""

import math

from train.ternarize.files import write_json
from train.ternarize.plot import chart

SIDES = ("teacher", "student")


def write_report(folder, run, sizes):
    report = figures(run, sizes)
    write_json(folder / "report.json", report)
    for name, svg in charts(report).items():
        (folder / name).write_text(svg, encoding="utf-8")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")


def figures(run, sizes):
    """All figures of a run as JSON values; sizes: component -> {teacher, student} bytes."""
    return {
        "settings": run.settings.as_json(), "group": run.family.group,
        "sigmas": [round(sigma, 6) for sigma in run.family.sigmas.tolist()],
        "prompts": {"trained": run.prompts.trained, "held_out": run.prompts.held_out},
        "parameters": parameters(run.student, sizes), "bytes": sizes,
        "stages": run.record["stages"], "curves": run.record["curves"],
    }


def parameters(student, sizes):
    lowbit = sum(student.parameters[name].numel() for name in student.scales)
    everything = sum(parameter.numel() for parameter in student.parameters.values())
    bits = 8 * sizes["transformer"]["student"] / everything
    return {"transformer": everything, "low_bit": lowbit, "bits_per_weight": round(bits, 3)}


def charts(report):
    """File name -> SVG."""
    stages, files = report["stages"], {}
    for stage in ("train", "finish"):
        curve = report["curves"].get(stage)
        if curve:
            steps = [entry["step"] for entry in curve]
            shown = {"loss": "loss", "velocity error": "velocity", "feature error": "features",
                     "code flips a step": "flips"}
            series = {name: (steps, [e[key] for e in curve]) for name, key in shown.items()}
            files[f"{stage}.svg"] = chart(f"Stage {stage}", "step", "relative", series, log=True)
    blocks = report["curves"].get("reconstruct")
    if blocks:
        at = [entry["step"] for entry in blocks]
        series = {key: (at, [entry[key] for entry in blocks]) for key in ("before", "after")}
        files["reconstruct.svg"] = chart(
            "Stage reconstruct", "block", "relative error", series, log=True
        )
    cosines = {stage["stage"]: by_sigma(stage) for stage in stages}
    files["cosine.svg"] = chart("Velocity cosine on held-out prompts, re-noised states", "sigma",
                                "cosine", cosines)
    for key, title, label in (("snr", "Weight signal-to-noise ratio", "dB"),
                              ("zeros", "Zero share", "share")):
        series = {stage["stage"]: over_layers(stage, key) for stage in stages}
        files[f"{key}.svg"] = chart(title, "layer", label, series)
    return files


def by_sigma(stage):
    points = sorted((p["sigma"], p["cosine"]) for p in stage["held_out"]
                    if p["states"] == "re-noised")
    return [sigma for sigma, _ in points], [cosine for _, cosine in points]


def over_layers(stage, key):
    values = [layer[key] for layer in stage["layers"].values()]
    return list(range(len(values))), [math.nan if value is None else value for value in values]


def markdown(report):
    bits, weights = report["settings"]["bits"], report["parameters"]
    stages = [stage["stage"] for stage in report["stages"]]
    skipped = ", ".join(report["settings"]["skip"]) or "none"
    parts = [
        f"# Report: {bits}, groups of {report['group']}\n",
        f"{weights['low_bit']:,} of {weights['transformer']:,} transformer weights are {bits}; "
        f"the transformer takes {weights['bits_per_weight']} bits a weight in its file. "
        f"{report['prompts']['trained']:,} prompts trained it, {report['prompts']['held_out']:,} "
        f"others measured it. Stages left out: {skipped}.\n",
        "## Stages\n",
        "SNR is of the weights against the teacher's; flips are codes that changed in the stage; "
        "cosine and relative error are of the velocity on held-out prompts.\n",
        table(["stage", "SNR (dB)", "zero share", "code flips", "cosine", "relative error"],
              [stage_row(stage) for stage in report["stages"]]),
        "## Sizes\n",
        table(["component", "teacher (MB)", "student (MB)"], size_rows(report["bytes"])),
        "## Velocity by sigma, held-out prompts\n",
        table(["states", "sigma", *(f"cosine, {stage}" for stage in stages),
               *(f"error, {stage}" for stage in stages)], sigma_rows(report["stages"])),
        "![cosine by sigma](cosine.svg)\n",
        "## Curves\n",
        "".join(f"![{name}]({name}.svg)\n\n" for name in ("reconstruct", "train", "finish")
                if report["curves"].get(name)),
        "## Layers\n",
        "![SNR](snr.svg)\n\n![zero share](zeros.svg)\n",
        table(["layer", *(f"{what}, {stage}" for what in ("SNR (dB)", "zeros", "flips")
                          for stage in stages)], layer_rows(report["stages"])),
    ]
    return "\n".join(parts)


def stage_row(stage):
    line = stage["summary"]
    return [stage["stage"], number(line["snr"], 2), number(line["zeros"], 4),
            number(line["flips"], 5), number(line["cosine"], 5), number(line["error"], 5)]


def size_rows(sizes):
    rows = [[name, *(number(both[side] / 1e6, 2) for side in SIDES)]
            for name, both in sizes.items()]
    totals = [sum(both[side] for both in sizes.values()) / 1e6 for side in SIDES]
    return [*rows, ["total", *(number(total, 2) for total in totals)]]


def sigma_rows(stages):
    rows = []
    for i, point in enumerate(stages[0]["held_out"]):
        points = [stage["held_out"][i] for stage in stages]
        rows.append([point["states"], number(point["sigma"], 4),
                     *(number(p[key], 5) for key in ("cosine", "error") for p in points)])
    return rows


def layer_rows(stages):
    return [[name, *(number(stage["layers"][name][key], 3) for key in ("snr", "zeros", "flips")
                     for stage in stages)] for name in stages[0]["layers"]]


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
