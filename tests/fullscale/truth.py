"""What diffusers in float32 makes of a checkpoint that is too large for memory, stage by stage.

By the names that the page gives its stages; a family is told by its pipeline in model_index.json.
"""

from tests import (
    flux1_reference,
    flux1_streamed,
    reference,
    sana_reference,
    sana_streamed,
    streamed,
)


def flux2_stages(folder, request, picture):
    want = reference.reference(folder, **request, pipeline=streamed.load_streamed(folder),
                               max_sequence_length=picture["tokens"]["count"])
    stages = {"encoder_rows": want["encoder_rows"]} | steps_of(want)
    return stages | {name: want[name] for name in ("latents", "decoded")}


def sana_stages(folder, request, picture):
    asked = dict(request)
    asked["guidance"] = asked.pop("guidanceScale", None)
    want = sana_reference.reference(folder, **asked, pipeline=sana_streamed.load_streamed(folder))
    names = {"prompt": "encoder_rows", "negative": "negative.encoder_rows"}
    stages = {names[text]: rows for text, rows in want["rows"].items()}
    blocks = len(want["blocks"]) // len(want["velocity"])
    for step, halves in enumerate(want["velocity"]):
        own = want["blocks"][step * blocks : (step + 1) * blocks]
        stages |= {f"block.layer.{i}.{step}": tokens for i, tokens in enumerate(own)}
        told = len(halves) > 1
        stages |= {f"velocity.{step}.{half}" if told else f"velocity.{step}": velocity
                   for half, velocity in halves.items()}
    return stages | {name: want[name] for name in ("latents", "decoded")}


def flux1_stages(folder, request, picture):
    asked = dict(request)
    asked["guidance"] = asked.pop("guidanceScale", None)
    want = flux1_reference.reference(folder, **asked,
                                     pipeline=flux1_streamed.load_streamed(folder))
    stages = {"encoder_rows": want["pooled"], "encoder_rows.1": want["rows"]}
    return stages | steps_of(want) | {name: want[name] for name in ("latents", "decoded")}


def steps_of(want):
    """Of FLUX's references: each block's tokens and the velocity, step by step."""
    stages = {}
    for step, velocity in enumerate(want["velocity"]):
        stages |= {f"block.{name}.{step}": blocks[step] for name, blocks in want["blocks"].items()}
        stages[f"velocity.{step}"] = velocity
    return stages


STAGES = {"Flux2KleinPipeline": flux2_stages, "SanaPipeline": sana_stages,
          "SanaSprintPipeline": sana_stages, "FluxPipeline": flux1_stages}


def stages_of(folder, request, picture):
    """name -> array; request as `generate` takes it, picture what it made of that."""
    index = reference.read_json(folder / "model_index.json")
    return STAGES[index["_class_name"]](folder, request, picture)
