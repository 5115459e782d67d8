"""FLUX.1 dev and schnell: FluxTransformer2DModel, CLIP-L and T5, AutoencoderKL, flow Euler.

dev is told a guidance scale and drawn in many steps; schnell has no embedder for one and is drawn
in four. Both are diffusers' FluxPipeline: the transformer's configuration tells them apart.
"""

from dataclasses import replace

from export import layouts
from export.autoencoders import kl_scaled
from export.autoencoders.kl_preview import fit_preview
from export.denoisers import flux1, flux1_native
from export.families.call import Call, Guidance
from export.families.family import (
    AUTOENCODER,
    DENOISER,
    ENCODER,
    Base,
    Family,
    Latents,
    OriginalNames,
    Part,
    Prompt,
)
from export.prompts import clip_tokenizer
from export.samplers import flow_euler_dynamic
from export.source.configuration import show
from export.text_encoders import clip, t5

PIPELINE = "FluxPipeline"
STEPS, GUIDANCE, LENGTH = 28, 3.5, 512  # diffusers' defaults of the call
# Those of schnell's card; of T5's tokens it was taught no more.
SCHNELL_STEPS, SCHNELL_LENGTH = 4, 256
PATCH = 2  # latents along a side of a token
UNUSED = ("negative_prompt", "complex_human_instruction", "intermediate_timesteps",
          "text_encoder_out_layers")
GUIDANCE_NAMES = (".guidance_embedder.", "guidance_in.")  # diffusers', the original code's

SCHEDULER = {  # dev's own scheduler_config.json
    "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True,
    "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
    "time_shift_type": "exponential", "shift_terminal": None, "invert_sigmas": False,
    "use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False,
    "stochastic_sampling": False,
}
SCHNELL_SCHEDULER = {"shift": 1.0, "use_dynamic_shifting": False}


def takes_guidance(names):
    """Whether a transformer with tensors of these names is told a guidance scale."""
    return any(mark in f".{name}" for name in names for mark in GUIDANCE_NAMES)


SCHNELL = Base("black-forest-labs/FLUX.1-schnell", r"flux(?![-_. ]?2).*schnell",
               lambda names: not takes_guidance(names))
DEV = Base("black-forest-labs/FLUX.1-dev", r"flux(?![-_. ]?2).*dev(?![a-z])", takes_guidance)


def read_own(index, call):
    """Nothing of its own. Refuses what FluxPipeline would do otherwise, or not at all."""
    call.integer("max_sequence_length", None, most=LENGTH)
    scale = call.number("true_cfg_scale", None, least=0)
    if scale is not None and scale > 1:
        call.fail(f"true_cfg_scale is {show(scale)}, and this version draws FLUX.1 without a "
                  "negative prompt; write 1")
    for key in UNUSED:
        value = call.get(key, None)
        if value not in (None, "", []):
            call.fail(f"{key} is {show(value)}, and this family takes none; write null")
    return {}


def check(opened):
    """The widths that the parts must agree on."""
    file, c = opened["transformer"].file, opened["transformer"].config
    latent = opened["autoencoder"].config.latent_channels
    for key, got, want, whose in (
            ("pooled_projection_dim", c.pooled_projection_dim,
             opened["text_encoder"].config.hidden_size, "CLIP's hidden_size"),
            ("joint_attention_dim", c.joint_attention_dim,
             opened["text_encoder_2"].config.d_model, "T5's d_model"),
            ("in_channels", c.in_channels, PATCH**2 * latent,
             f"{PATCH**2} x the autoencoder's latent_channels {latent} =")):
        if got != want:
            file.fail(f"{key} is {got}, expected {whose} {want}")


def latents(configs):
    """A token is 2 x 2 latents, for each of which noise is drawn."""
    autoencoder = configs["autoencoder"]
    return Latents(configs["transformer"].in_channels, PATCH * autoencoder.scale_factor,
                   {"scale": 1 / autoencoder.scaling_factor, "shift": autoencoder.shift_factor},
                   PATCH)


def defaults(call, configs, latents):
    """dev's call, or schnell's where the transformer is told no guidance."""
    if configs["transformer"].guidance_embeds:
        return call
    return replace(call, num_inference_steps=SCHNELL_STEPS, max_sequence_length=SCHNELL_LENGTH,
                   guidance=Guidance(), scheduler=SCHNELL_SCHEDULER)


FLUX1 = Family(
    name="flux1",
    pipelines={PIPELINE: Call(num_inference_steps=STEPS, max_sequence_length=LENGTH,
                              guidance=Guidance("embedded", GUIDANCE))},
    parts=(
        Part("text_encoder", ENCODER, clip, lambda file, asked: clip.read_config(file),
             layouts.LINEAR, "text_encoder"),
        Part("text_encoder_2", ENCODER, t5, lambda file, asked: t5.read_config(file),
             layouts.LINEAR, "text_encoder_2"),
        Part("transformer", DENOISER, flux1, lambda file, asked: flux1.read_config(file),
             layouts.LOWBIT, "transformer", derive_config=flux1.derive_config,
             original=OriginalNames(flux1_native.MARK, flux1_native.renaming)),
        Part("autoencoder", AUTOENCODER, kl_scaled,
             lambda file, asked: kl_scaled.read_config(file), layouts.WHOLE, "vae"),
    ),
    prompts=(
        Prompt("text_encoder", mask=False, chat=False, own_length=True,
               made_from=clip_tokenizer.FILES),
        Prompt("text_encoder_2", folder="tokenizer_2", mask=False, chat=False),
    ),
    samplers={flow_euler_dynamic.CLASS: flow_euler_dynamic},
    scheduler=SCHEDULER,
    read_own=read_own,
    check=check,
    latents=latents,
    defaults=defaults,
    preview=fit_preview,
    bases=(SCHNELL, DEV),
)
