"""Sana, Clark Air and Sana-Sprint: SanaTransformer2DModel, Gemma 2, AutoencoderDC.

Sana is drawn by DPM-Solver++ or flow Euler with guidance away from a negative prompt, Sprint by SCM
with the guidance embedded.
"""

from dataclasses import replace

from export import layouts
from export.autoencoders import dc
from export.autoencoders.dc_preview import fit_preview
from export.denoisers import sana, sana_native
from export.denoisers.sana_tables import plan_folding
from export.families.call import LARGEST_SIDE, Call, Guidance
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
from export.prompts.instruction import COMPLEX_HUMAN_INSTRUCTION
from export.samplers import dpm_solver, flow_euler_twice, scm
from export.source.configuration import is_text, show
from export.text_encoders import gemma2

USUAL, SPRINT = "SanaPipeline", "SanaSprintPipeline"
INSTRUCTION, NEGATIVE, BETWEEN = (
    "complex_human_instruction", "negative_prompt", "intermediate_timesteps")
SCALE = 4.5
SPRINT_STEPS, SPRINT_BETWEEN = 2, 1.3
# Sixteenths of the model's own side: of the shapes that it was trained in, one square, two upright
# and two lying ones.
ASPECTS = [(16, 16), (18, 14), (14, 18), (21, 12), (12, 21)]

BASE = Base("Efficient-Large-Model/Sana_1600M_512px_diffusers", r"clark[-_]air[-_]sana")
UNREAD = {
    r"clark[-_]air[-_]sana.*packed\.safetensors":
        "the layout of this file is not published, so it is not read; take the same weights from "
        "the folder transformer/ beside it: --model clark-labs/clark-air-sana-1.6b-1.58bit",
}


def read_own(index, call):
    """The instruction before prompts; and the negative prompt, or Sprint's angle between steps."""
    own = {INSTRUCTION: read_instruction(call)}
    if is_sprint(index):
        refuse(call, NEGATIVE, ("", []), "Sprint is not led away from a text")
        return own | {BETWEEN: read_between(call)}
    refuse(call, BETWEEN, (), "the angle between the two steps of Sprint; this is no Sprint")
    negative = call.get(NEGATIVE, "")
    if not is_text(negative):
        call.fail(f"{NEGATIVE} is {show(negative)}, expected a text")
    return own | {NEGATIVE: negative}


def is_sprint(index):
    """Whether model_index.json names Sprint's pipeline; a file that stands alone is Sana's."""
    return index.get("_class_name", USUAL) == SPRINT


def refuse(call, key, harmless, why):
    value = call.get(key, None)
    if value is not None and value not in harmless:
        call.fail(f"{key} is {show(value)}, and this model takes none ({why}); write null")


def read_instruction(call):
    """Lines, or None: null and an empty list say that there is none."""
    lines = call.get(INSTRUCTION, None)
    if lines is None:
        return None if INSTRUCTION in call.values else list(COMPLEX_HUMAN_INSTRUCTION)
    if not isinstance(lines, list) or not all(is_text(line) for line in lines):
        call.fail(f"{INSTRUCTION} is {show(lines)}, expected a list of lines, or null for none")
    return lines or None


def read_between(call):
    """The angle, which diffusers takes with two steps alone; null is none."""
    steps = call.integer("num_inference_steps", SPRINT_STEPS)
    between = call.number(BETWEEN, None, most=scm.MOST_ANGLE)
    if between is not None and steps != SPRINT_STEPS:
        call.fail(f"{BETWEEN} is {show(between)} and num_inference_steps {steps}, and diffusers "
                  f"takes it with {SPRINT_STEPS} steps only; write null")
    return between if BETWEEN in call.values else SPRINT_BETWEEN


def read_transformer(file, asked):
    """Guidance is embedded for Sprint, and for Sprint alone."""
    c = sana.read_config(file)
    if c.guidance_embeds != (BETWEEN in asked.own):
        pipeline = SPRINT if BETWEEN in asked.own else USUAL
        file.fail(f"guidance_embeds is {str(c.guidance_embeds).lower()}, expected "
                  f"{str(not c.guidance_embeds).lower()} of a model that is drawn by {pipeline}; "
                  "the model's model_index.json tells that, or its base's: --base names another")
    return c


def check(opened):
    """The widths that the three parts must agree on."""
    file, c = opened["transformer"].file, opened["transformer"].config
    encoder, autoencoder = opened["text_encoder"].config, opened["autoencoder"].config
    if c.caption_channels != encoder.hidden_size:
        file.fail(f"caption_channels is {c.caption_channels}, expected the text encoder's "
                  f"hidden_size {encoder.hidden_size}")
    if c.in_channels != autoencoder.latent_channels:
        file.fail(f"in_channels is {c.in_channels}, expected the autoencoder's latent_channels "
                  f"{autoencoder.latent_channels}")


def latents(configs):
    """A token is a latent; the autoencoder's own are larger, by the factor that scales them."""
    autoencoder = configs["autoencoder"]
    return Latents(configs["transformer"].in_channels, autoencoder.scale_factor,
                   {"scale": 1 / autoencoder.scaling_factor, "shift": 0})


def defaults(call, configs, latents):
    """Pictures of the size that the model was trained in, and others of about as many pixels."""
    pixels = latents.pixels
    side = min(configs["transformer"].sample_size * pixels, LARGEST_SIDE // pixels * pixels)
    shapes = [[max(pixels, round(side * part / 16 / pixels) * pixels) for part in parts]
              for parts in ASPECTS]
    sizes = [size for i, size in enumerate(shapes)
             if max(size) <= LARGEST_SIDE and size not in shapes[:i]]
    return replace(call, width=side, height=side, sizes=sizes)


SANA = Family(
    name="sana",
    pipelines={
        USUAL: Call(num_inference_steps=20, max_sequence_length=300,
                    guidance=Guidance("cfg", SCALE, negative=True),
                    samplers=(dpm_solver.CLASS, flow_euler_twice.CLASS)),
        SPRINT: Call(num_inference_steps=SPRINT_STEPS, max_sequence_length=300,
                     guidance=Guidance("embedded", SCALE), samplers=(scm.CLASS,)),
    },
    parts=(
        Part("text_encoder", ENCODER, gemma2, lambda file, asked: gemma2.read_config(file),
             layouts.LINEAR, "text_encoder"),
        Part("transformer", DENOISER, sana, read_transformer, layouts.LOWBIT, "transformer",
             derive_config=sana.derive_config,
             original=OriginalNames(sana_native.MARK, sana_native.renaming)),
        Part("autoencoder", AUTOENCODER, dc, lambda file, asked: dc.read_config(file),
             layouts.HALF, "vae"),
    ),
    prompts=(Prompt("text_encoder", lower=True, strip=True, keeps_padding=False, chat=False,
                    pads_right=True, instruction=INSTRUCTION),),
    samplers={dpm_solver.CLASS: dpm_solver, flow_euler_twice.CLASS: flow_euler_twice,
              scm.CLASS: scm},
    scheduler={},
    read_own=read_own,
    check=check,
    latents=latents,
    defaults=defaults,
    tables=lambda configs, call, latents, sampler: plan_folding(
        configs["transformer"], call, latents.pixels, sampler.times),
    preview=fit_preview,
    bases=(BASE,),
    unread=UNREAD,
)
