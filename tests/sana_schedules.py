"""What diffusers' Sana pipelines do with their schedulers: times, and latents after a few steps.

The pipelines are diffusers' own and draw with a denoiser of one line, Toy, which the tests of the
samplers write again.
"""

import hashlib
import logging

import numpy as np
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaPipeline,
    SanaSprintPipeline,
    SCMScheduler,
)

from tests.web.golden_files import encode

STEPS = range(1, 51)
SHOWN = (1, 2, 3, 14, 20, 50)  # steps whose sigmas and times are written out
SEED, CHANNELS, HEIGHT, WIDTH = 3, 4, 64, 96  # of pictures whose latents are a 32nd as wide
SCALE = 4.5
FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


class Toy(torch.nn.Module):
    """velocity = cos(x + t / 1000 + mean of the text's one row), t the time that it is told."""

    dtype, device = torch.float32, torch.device("cpu")

    class config:  # noqa: N801, as diffusers' models have it
        in_channels = out_channels = CHANNELS
        timestep_scale = 1.0
        guidance_embeds_scale = 0.1
        sample_size = 32

    def forward(self, latents, encoder_hidden_states, timestep, **_):
        text = encoder_hidden_states.mean(dim=(1, 2)).view(-1, 1, 1, 1)
        return (torch.cos(latents + timestep.view(-1, 1, 1, 1) / 1000 + text),)


def dpm(**own):
    return DPMSolverMultistepScheduler(**FLOW, **own)


def sana_schedules():
    """schedules: by kind, their sigmas and times, and the hash of those of 1 to 50 steps, in turn.

    draws: latents [C, h, w] that a pipeline ends with.
    """
    dpms = [{"flow_shift": 3.0}, {"flow_shift": 6.0}, {"num_train_timesteps": 400}]
    eulers = [{"shift": 3.0}, {"shift": 2.7, "num_train_timesteps": 400}]
    usual = {"num_train_timesteps": 1000}
    of_dpm = usual | {"flow_shift": 1.0, "solver_order": 2}
    schedules = [schedule(dpm(**own), "static", of_dpm | own) for own in dpms]
    schedules += [schedule(FlowMatchEulerDiscreteScheduler(**own), "twice", usual | own)
                  for own in eulers]
    draws = [draw_sana(dpm(flow_shift=3.0), steps, scale) for steps, scale in (
        (1, SCALE), (2, 1.0), (3, SCALE), (20, SCALE))]
    draws.append(draw_sana(dpm(flow_shift=3.0, solver_order=1), 4, 1.0))
    draws.append(draw_sana(FlowMatchEulerDiscreteScheduler(shift=3.0), 5, SCALE))
    draws += [draw_sprint(steps, between) for steps, between in (
        (1, None), (2, 1.3), (2, None), (4, None))]
    return {"seed": SEED, "shape": [CHANNELS, HEIGHT // 32, WIDTH // 32], "schedules": schedules,
            "draws": draws}


def schedule(scheduler, shift, config):
    digest, shown = hashlib.sha256(), {}
    for steps in STEPS:
        scheduler.set_timesteps(steps)
        sigmas, times = (values.numpy().astype("<f4")
                         for values in (scheduler.sigmas, scheduler.timesteps))
        digest.update(sigmas.tobytes() + times.tobytes())
        if steps in SHOWN:
            shown[str(steps)] = {"sigmas": encode(sigmas), "times": encode(times)}
    return {"class": type(scheduler).__name__, "shift": shift, "config": config, "of": shown,
            "sha256": digest.hexdigest()}


def draw_sana(scheduler, steps, scale):
    """Of a prompt whose rows are 0.5, and a negative one whose rows are 0.25."""
    pipeline = SanaPipeline(None, None, None, Toy(), scheduler)
    row, mask = torch.full((1, 1, 1), 0.5), torch.ones(1, 1)
    latents = draw(pipeline, steps, scale, prompt_embeds=row, prompt_attention_mask=mask,
                   negative_prompt=None, negative_prompt_embeds=row / 2,
                   negative_prompt_attention_mask=mask)
    own = {"flow_shift": 3.0, "solver_order": scheduler.config.get("solver_order")}
    euler = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    config = {"num_train_timesteps": 1000} | ({"shift": 3.0} if euler else own)
    return {"class": type(scheduler).__name__, "shift": "twice" if euler else "static",
            "config": config, "steps": steps, "scale": scale, "latents": encode(latents)}


def draw_sprint(steps, between):
    scheduler = SCMScheduler()
    pipeline = SanaSprintPipeline(None, None, None, Toy(), scheduler)
    row, mask = torch.full((1, 1, 1), 0.5), torch.ones(1, 1)
    latents = draw(pipeline, steps, SCALE, prompt_embeds=row, prompt_attention_mask=mask,
                   intermediate_timesteps=between)
    angles = scheduler.timesteps
    times = torch.sin(angles[:-1]) / (torch.cos(angles[:-1]) + torch.sin(angles[:-1]))
    return {"class": type(scheduler).__name__, "shift": "none",
            "config": {"max_timesteps": 1.5708, "intermediate_timesteps": between},
            "steps": steps, "scale": 1.0, "angles": encode(angles.numpy()),
            "times": encode(times.numpy()), "latents": encode(latents)}


@torch.no_grad()
def draw(pipeline, steps, scale, **texts):
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    pipeline.set_progress_bar_config(disable=True)
    return np.asarray(pipeline(
        **texts, num_inference_steps=steps, guidance_scale=scale, height=HEIGHT, width=WIDTH,
        generator=torch.Generator("cpu").manual_seed(SEED), output_type="latent",
        use_resolution_binning=False, return_dict=False)[0])
