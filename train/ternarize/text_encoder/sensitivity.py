"""How much the denoiser minds an error in each channel of the rows, and in those of padding.

The teacher's own pipeline draws a few pictures. At some of its steps the velocity, times random
signs, is differentiated with respect to the rows; the mean square over rows and steps is what an
error in a channel costs, whatever its sign.
"""

import torch
from diffusers import DiffusionPipeline

from export.errors import ExportError
from train.ternarize.text_encoder.losses import Weights

PICTURES, STEPS = 16, 4  # of the first prompts; steps of each that are looked at
ROWS, MASK = "encoder_hidden_states", "encoder_attention_mask"


def measure_weights(run):
    """The Weights of an EncoderRun's rows. Raises ExportError where the teacher cannot draw."""
    encoder, count = run.opened.encoder, min(PICTURES, run.trained_rows)
    pipeline, call = open_pipeline(run), arguments(run.opened.model)
    columns = len(encoder.taps) * encoder.width
    squares = torch.zeros(columns, dtype=torch.float64)
    effects, rows = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    run.progress.begin("sensitivity of the denoiser", count)
    for number in range(count):
        generator = torch.Generator("cpu").manual_seed(run.settings.seed + number)
        asked = recorded(pipeline, run.prompts.texts[number], call, generator)
        own = run.texts.own[number].to(run.device)
        for inputs, keywords in asked[:: -(-len(asked) // STEPS)]:
            slopes, values = differentiate(pipeline.transformer, inputs, keywords, generator)
            mask = keywords.get(MASK)
            is_own = own.expand(len(slopes), -1) if mask is None else mask.bool()
            read = torch.ones_like(is_own) if mask is None else is_own
            squares += slopes[read].square().sum(0).cpu()
            for kind, chosen in enumerate((is_own, read & ~is_own)):
                effects[kind] += (slopes * values)[chosen].square().sum().cpu()
                rows[kind] += chosen.sum().cpu()
        run.progress.advance(number + 1)
    channels = (squares / squares.mean()).float().unflatten(0, (len(encoder.taps), -1))
    own_effect, padding_effect = (effects / rows.clamp(min=1)).tolist()
    return Weights(channels.to(run.device), padding_effect / own_effect)


def open_pipeline(run):
    folder = run.opened.folder
    if not (folder / "transformer").is_dir():
        raise ExportError(
            f"{folder}: no transformer/, expected the denoiser in full precision for --row-weights "
            "sensitivity; name such a teacher, or take --row-weights even"
        )
    pipeline = DiffusionPipeline.from_pretrained(folder, torch_dtype=run.dtype).to(run.device)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.transformer.requires_grad_(False)
    return pipeline


def arguments(model):
    """A model's usual call, as its pipeline takes it."""
    call = model.call
    given = {"num_inference_steps": call.num_inference_steps, "width": call.width,
             "height": call.height, "max_sequence_length": call.max_sequence_length}
    if call.guidance.kind != "none":
        given["guidance_scale"] = call.guidance.scale
    if model.family.name == "sana":
        given["use_resolution_binning"] = False
    return given | call.own


def recorded(pipeline, prompt, call, generator):
    """What the denoiser is called with in a drawing: (inputs, keywords), step after step."""
    asked = []
    hook = pipeline.transformer.register_forward_pre_hook(
        lambda module, inputs, keywords: asked.append((inputs, keywords)), with_kwargs=True)
    pipeline(prompt=prompt, output_type="latent", generator=generator, **call)
    hook.remove()
    return asked


def differentiate(transformer, inputs, keywords, generator):
    """(slopes, rows) f64 [B, S, columns] of the output times random signs at one step."""
    rows = keywords[ROWS].detach().requires_grad_()
    with torch.enable_grad():
        output = transformer(*inputs, **keywords | {ROWS: rows})[0]
        signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
        slopes, = torch.autograd.grad((output * signs).sum(), rows)
    return slopes.double(), rows.detach().double()
