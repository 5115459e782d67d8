"""The names of FLUX.1's original code, as diffusers' names.

In single blocks q, k and v are one tensor with the MLP's first half.
"""

from export.denoisers.flux_native import QKV, NativeNames

MARK = "vector_in.in_layer.weight"
EMBEDDERS = {"time_in": "timestep_embedder", "guidance_in": "guidance_embedder",
             "vector_in": "text_embedder"}
NAMES = NativeNames(
    parts=("weight", "bias", "codes2b", "scale", "scales", "biases"),
    top={
        "img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out",
        **{f"{theirs}.{layer}": f"time_text_embed.{ours}.{linear}"
           for theirs, ours in EMBEDDERS.items()
           for layer, linear in (("in_layer", "linear_1"), ("out_layer", "linear_2"))},
    },
    double={
        "img_mod.lin": "norm1.linear", "txt_mod.lin": "norm1_context.linear",
        "img_mlp.0": "ff.net.0.proj", "img_mlp.2": "ff.net.2",
        "txt_mlp.0": "ff_context.net.0.proj", "txt_mlp.2": "ff_context.net.2",
    },
    single={"modulation.lin": "norm.linear", "linear2": "proj_out"},
    fused={"linear1": dict.fromkeys(QKV, 1) | {"proj_mlp": 4}},
)
renaming = NAMES.renaming
