"""The names of FLUX.2's original code, as diffusers' names."""

from export.denoisers.flux_native import NativeNames

MARK = "double_stream_modulation_img.lin.weight"
NAMES = NativeNames(
    parts=("weight", "scales", "biases"),
    top={
        "img_in": "x_embedder", "txt_in": "context_embedder",
        "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
        "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
        "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
        "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
        "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
        "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
        "single_stream_modulation.lin": "single_stream_modulation.linear",
        "final_layer.linear": "proj_out",
    },
    double={
        "img_mlp.0": "ff.linear_in", "img_mlp.2": "ff.linear_out",
        "txt_mlp.0": "ff_context.linear_in", "txt_mlp.2": "ff_context.linear_out",
    },
    single={"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"},
)
renaming = NAMES.renaming
