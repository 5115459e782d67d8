"""The evaluation's table, and what a model folder's weights take."""

from pathlib import Path

from safetensors import safe_open

from .scene import ATTRIBUTES

COMPONENTS = ("transformer", "text_encoder", "vae", "tokenizer")
BITS = {"F32": 32, "U32": 32, "BF16": 16, "F16": 16}


def weights(folder):
    """Megabytes by component and in all, and the stored bits of a block linear's weight.

    A packed weight takes its codes, scales and biases, as the published layout stores them.
    """
    megabytes = {}
    for path in sorted(Path(folder).iterdir()):
        component = path.name.split("-")[0]
        if path.is_dir() and component in COMPONENTS:
            megabytes[component] = sum(
                file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
    return {"megabytes": megabytes, "total_megabytes": sum(megabytes.values()),
            "bits_per_weight": bits_per_weight(folder)}


def bits_per_weight(folder):
    """Stored bits a weight of the linears and 1x1 convolutions inside the transformer's blocks."""
    bits = count = 0
    for path in sorted(Path(folder).glob("transformer*/*.safetensors")):
        with safe_open(path, "np") as file:
            keys = set(file.keys())
            for key in keys:
                shape = file.get_slice(key).get_shape()
                is_matrix = len(shape) == 2 or shape[2:] == [1, 1]
                if "transformer_blocks." not in key or "table" in key or not is_matrix:
                    continue
                bits += BITS[file.get_slice(key).get_dtype()] * shape[0] * shape[1]
                if key.endswith(".weight"):
                    count += shape[0] * inputs(file, key, keys)
    return bits / count


def inputs(file, key, keys):
    """Inputs of a linear: of a packed one its groups of 128."""
    scales = key.removesuffix("weight") + "scales"
    stored = file.get_slice(key).get_shape()[1]
    return 128 * file.get_slice(scales).get_shape()[1] if scales in keys else stored


def percent(figure):
    """99.1 (98.0 to 99.6) of a share with its interval."""
    if figure["share"] is None:
        return "-"
    return f"{100 * figure['share']:.1f} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def table(result):
    """The Markdown table of evaluate.py's result: a column a model."""
    models = result["models"]
    first = next(iter(models.values()))

    def row(title, value):
        return f"| {title} | " + " | ".join(value(model) for model in models.values()) + " |"

    def kept(model):
        return f"{100 * model['mean']['share'] / first['mean']['share']:.1f}"

    lines = [
        "| | " + " | ".join(models) + " |", "| --- |" + " --- |" * len(models),
        row("steps", lambda m: str(m["steps"])),
        row("**mean over the attributes, %**", lambda m: percent(m["mean"])),
        row("of the first column, %", kept),
        *(row(name.replace("_", " "), lambda m, name=name: percent(m["attributes"][name]))
          for name in ATTRIBUTES),
        row("mean, combinations seen in training", lambda m: percent(m["seen"])),
        row("mean, unseen combinations", lambda m: percent(m["unseen"])),
        *(row(f"held-out {name.replace('_', ' ')}, both right",
              lambda m, name=name: percent(m["held-out pairs"][name]))
          for name in first["held-out pairs"]),
        row("everything that the prompt names", lambda m: percent(m["everything named"])),
        row("Frechet distance to renders", lambda m: f"{m['frechet']:.2f}"),
        row("autoencoder, dB", lambda m: f"{m['autoencoder_psnr']:.2f}"),
        row("weights and tokenizer, MB", lambda m: f"{m['total_megabytes']:.2f}"),
        row("of them the transformer, MB", lambda m: f"{m['megabytes']['transformer']:.2f}"),
        row("stored bits a weight of its block linears", lambda m: f"{m['bits_per_weight']:.3f}"),
    ]
    return "\n".join(lines) + (
        f"\n\n{result['prompts']} prompts; shares with 95 % intervals (Wilson; means: bootstrap "
        f"over prompts). Fresh renders have a Frechet distance of "
        f"{result['frechet_of_renders']:.2f}.\n")
