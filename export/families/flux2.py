"""FLUX.2 Klein and Bonsai Image: Flux2Transformer2DModel, Qwen3, AutoencoderKLFlux2, flow Euler."""

from export import layouts
from export.autoencoders import kl
from export.autoencoders.kl_preview import fit_preview
from export.denoisers import flux2, flux2_native
from export.denoisers.flux2_tables import plan_folding
from export.families.call import Call
from export.families.family import (
    AUTOENCODER,
    DENOISER,
    ENCODER,
    Family,
    Latents,
    OriginalNames,
    Part,
    Prompt,
)
from export.samplers import flow_euler
from export.source.configuration import show
from export.text_encoders import qwen3

TAPS = (9, 18, 27)  # the hidden states that the transformer reads, where nothing is said
GUIDANCE = 4.0  # diffusers' Flux2KleinPipeline where the call names none
UNUSED = ("negative_prompt", "complex_human_instruction", "intermediate_timesteps")


def read_own(index, call):
    """The hidden states that are read. Refuses what diffusers would draw with guidance.

    A file that stands alone has no model_index.json and is taken for the distilled Klein, the only
    one of its names.
    """
    check_guidance(index, call)
    taps = call.integers("text_encoder_out_layers", TAPS, least=0)
    if len(set(taps)) != len(taps):
        call.fail(f"text_encoder_out_layers {list(taps)} names a layer twice")
    return {"text_encoder_out_layers": taps}


def check_guidance(index, call):
    scale = call.number("guidance_scale", None, least=0)
    if scale is not None and scale > 1:
        call.fail(f"guidance_scale is {show(scale)}, and this version draws without guidance; "
                  "write 1, or take a distilled model")
    for key in UNUSED:
        value = call.get(key, None)
        if value not in (None, "", []):
            call.fail(f"{key} is {show(value)}, and this family takes none; write null")
    if index.values and scale is None and not index.flag("is_distilled", False):
        says = "is false" if "is_distilled" in index.values else "is missing"
        index.fail(
            f"is_distilled {says}, so diffusers draws with classifier-free guidance of "
            f"{GUIDANCE}, which this version does not; take a distilled model, or write "
            '"guidance_scale": 1 into trefoil.json where the model is meant to draw without'
        )


def check(opened):
    """The widths that the three parts must agree on."""
    file, c = opened["transformer"].file, opened["transformer"].config
    encoder, autoencoder = opened["text_encoder"].config, opened["autoencoder"].config
    taps = list(encoder.taps)
    if c.joint_attention_dim != len(taps) * encoder.hidden_size:
        file.fail(
            f"joint_attention_dim is {c.joint_attention_dim}, expected {len(taps)} text encoder "
            f"layers {taps} x hidden_size {encoder.hidden_size} = {len(taps) * encoder.hidden_size}"
        )
    if c.in_channels != 4 * autoencoder.latent_channels:
        file.fail(
            f"in_channels is {c.in_channels}, expected 4 x the autoencoder's latent_channels "
            f"{autoencoder.latent_channels} = {4 * autoencoder.latent_channels}"
        )


def latents(configs):
    """A token is 2 x 2 latents, normalised by the autoencoder's batch norm."""
    autoencoder = configs["autoencoder"]
    statistics = [f"autoencoder.bn.running_{kind}" for kind in ("mean", "var")]
    return Latents(configs["transformer"].in_channels, 2 * autoencoder.scale_factor,
                   {"statistics": statistics, "eps": autoencoder.batch_norm_eps})


FLUX2 = Family(
    name="flux2",
    pipelines={"Flux2KleinPipeline": Call(num_inference_steps=4, max_sequence_length=512)},
    parts=(
        Part("text_encoder", ENCODER, qwen3,
             lambda file, asked: qwen3.read_config(file, asked.own["text_encoder_out_layers"]),
             layouts.LINEAR, "text_encoder"),
        Part("transformer", DENOISER, flux2, lambda file, asked: flux2.read_config(file),
             layouts.LOWBIT, "transformer", derive_config=flux2.derive_config,
             original=OriginalNames(flux2_native.MARK, flux2_native.renaming)),
        Part("autoencoder", AUTOENCODER, kl,
             lambda file, asked: kl.read_config(file, asked.image_input), layouts.WHOLE, "vae"),
    ),
    prompts=(Prompt("text_encoder"),),
    samplers={"FlowMatchEulerDiscreteScheduler": flow_euler},
    scheduler=flux2.SCHEDULER,
    image_input=True,
    read_own=read_own,
    check=check,
    latents=latents,
    tables=lambda configs, call, latents, sampler: plan_folding(
        configs["transformer"], call, latents.pixels, sampler.config),
    preview=fit_preview,
)
