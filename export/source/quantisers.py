"""Files of other quantisers, told by the names and types of their tensors or by config.json.

What they did to the weights cannot be undone, or is in a form that no layout here reads: the user
needs to hear which file this is, and which one to take instead.
"""

import re
from pathlib import Path

from export.errors import ExportError
from export.source.configuration import Configuration

REMEDY = (
    "take the bf16, f16 or f32 files of the same model, or a layout that this version reads: MLX, "
    "GemLite, HQQ in 4 bits, or GGUF in Q1_0, Q2_0, PQ2_0 or PTQ1_0"
)
# A tensor's name, from its end -> who writes such tensors. The first that fits any is told.
BY_NAME = {
    r"\.(wscales|wzeros|smooth_factor|smooth_factor_orig|proj_down|proj_up)": "SVDQuant (nunchaku)",
    r"\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|weight_format)": "bitsandbytes",
    r"\.quant_state\..+": "bitsandbytes",
    r"\.(qweight|qzeros|g_idx)": "AWQ or GPTQ",
    r"\.(q_weight|q_scale|q_invperm|q_groups)": "EXL2",
    r"\.(codebooks|vector_codes)": "AQLM",
    r"\.(weight_scale_2|weight_global_scale)": "nvfp4",
    r"\.weight_packed": "compressed-tensors",
    r"\.comfy_quant": "ComfyUI's quantised",
    r"\.(weight_qdata|_weight_qdata|weight_tensor_impl.*)": "torchao",
    r"\.weight:?[._]_?(int_data|layout_tensor|tensor_impl).*": "torchao",
    r"\.weight\._(data|scale|shift|scale_and_shift).*": "quanto",
    # Many kinds of weights have these: by_weight tells.
    r"\.(weight_scale|weight_scale_inv|scale_weight|weight_zero_point)": None,
    r"\.(W_q|W_nbits|meta(\..+)?)": "HQQ",
}
BY_DTYPE = {
    "F8_E4M3": "fp8", "F8_E5M2": "fp8", "F8_E4M3FNUZ": "fp8", "F8_E5M2FNUZ": "fp8",
    "F8_E8M0": "mxfp8", "F4": "fp4", "F6_E2M3": "fp6", "F6_E3M2": "fp6", "I8": "int8",
}
INTEGERS = ("U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64")
TERNARY_METHODS = ("bitnet",)  # of config.json's quant_method: packed, not rounded


def refuse(where, entries, names):
    """Raises ExportError when one of `names` of `entries` is of another quantiser's file.

    names: those that the model does not have, or not with this type.
    """
    told = [(name, who) for name in sorted(names) if (who := quantiser_of(name, entries))]
    if told:
        kinds = list(BY_NAME.values())
        name, who = min(told, key=lambda pair: (kinds + [pair[1]]).index(pair[1]))
        raise ExportError(
            f"{where}: this is the {who} file ({name} is {entries[name].dtype} "
            f"{list(entries[name].shape)}), its weights are rounded; {REMEDY}"
        )
    method = quant_method(where) if names else None
    if method:
        what = "are packed as" if method in TERNARY_METHODS else "are rounded by"
        raise ExportError(
            f"{where}: config.json gives the quant_method {method!r}: the weights {what} it, and "
            f"this version does not read them; {REMEDY}"
        )


def refuse_packing(where, entries, names):
    """Raises ExportError when a quarter of a file is integers in `names`, which no layout knows.

    They are its weights then, in a layout that nobody has described; `refuse` tells of a quantiser
    that is known.
    """
    if any(quantiser_of(name, entries) for name in names):
        return
    packed = [name for name in names if entries[name].dtype in INTEGERS]
    if 4 * sum(entries[name].bytes for name in packed) > sum(e.bytes for e in entries.values()):
        name = max(sorted(packed), key=lambda name: entries[name].bytes)
        raise ExportError(
            f"{where}: the weights are packed in a layout that this version does not know ({name} "
            f"is {entries[name].dtype} {list(entries[name].shape)}); take the same model's folder "
            "of bf16, f16 or f32 weights (transformer/), or a layout that this version reads"
        )


def quantiser_of(name, entries):
    """Who left this tensor in a file, or None."""
    dtype = entries[name].dtype
    if re.search(r"(^|\.)weight$", name) and dtype in BY_DTYPE:
        return BY_DTYPE[dtype]
    if name.endswith(".scales") and dtype in ("U8", "F8_E8M0", "F8_E4M3"):
        return "MLX mxfp4, mxfp8 or nvfp4"
    for pattern, who in BY_NAME.items():
        match = re.search(f"(?:{pattern})$", name)
        if match:
            return who or by_weight(name[: match.start()] + ".weight", dtype, entries)
    return None


def by_weight(weight, scale_dtype, entries):
    """Weights of many kinds have a `weight_scale`."""
    dtype = entries[weight].dtype if weight in entries else ""
    if dtype == "U8":
        return "nvfp4" if scale_dtype == "F8_E4M3" else "4-bit"
    return BY_DTYPE.get(dtype, "quantised")


def quant_method(where):
    """quantization_config.quant_method of the config.json in a folder, or None."""
    path = Path(where) / "config.json"
    config = Configuration.read_optional(path).values.get("quantization_config")
    method = config.get("quant_method") if isinstance(config, dict) else None
    return method if isinstance(method, str) else None
