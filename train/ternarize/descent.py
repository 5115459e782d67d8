"""The training loop of the two stages that learn from velocities.

train    straight-through: latent weights, and scales, which follow by least squares in the first
         third; float weights are blended in at first; block features count until the end nears
finish   the values are fixed; scales and dense tensors learn at the precision they are stored in
"""

import math

import torch

from export.errors import ExportError
from train.ternarize import processes
from train.ternarize.losses import distances
from train.ternarize.states import assemble, plan

WARM_UP, MOST_WARM_UP = 0.05, 500   # share of the steps, and steps
LAST_RATE = 0.05                    # of the peak
FINISH_RATE = 0.2                   # of the dense peak, so as not to undo what train has settled
SCALES_LEARN_FROM = 1 / 3
FEATURES_FADE_FROM = 0.7
BETAS = (0.9, 0.95)
LARGEST_GRADIENT = 1.0


def rate_at(step, steps):
    """Share of the peak rate: a linear warm-up, then a cosine to LAST_RATE."""
    warm_up = max(1, min(MOST_WARM_UP, int(WARM_UP * steps)))
    if step < warm_up:
        return (step + 1) / warm_up
    way = (step - warm_up) / max(1, steps - warm_up)
    return LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * way)) / 2


def blend_at(fraction, share):
    """Share of the float weights: a cosine from 1 to 0 over the first `share` of the run."""
    return (1 + math.cos(math.pi * fraction / share)) / 2 if fraction < share else 0.0


def feature_weight_at(fraction, weight):
    """Constant, then linear to 0 over the rest of the run."""
    return weight * min(1.0, (1 - fraction) / (1 - FEATURES_FADE_FROM))


class Average:
    """The moving average of parameters; its decay grows from 0.1, so that the beginning fades."""

    def __init__(self, parameters, decay):
        self.parameters, self.decay = parameters, decay
        self.values = [p.detach().clone() for p in parameters] if decay else []

    @torch.no_grad()
    def update(self, step):
        if self.values:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - decay)

    def restore(self, values):
        for own, saved in zip(self.values, values, strict=True):
            own.copy_(saved)

    @torch.no_grad()
    def apply(self):
        if self.values:
            torch._foreach_copy_(self.parameters, self.values)


class Descent:
    """One stage of training; its state goes into the run's checkpoint."""

    OUTPUT = "velocity"  # what is compared with the teacher's, by its name in the curve

    def __init__(self, run):
        self.run, self.student, self.settings = run, run.student, run.settings
        self.steps = run.settings.steps(run.stage)
        self.training = run.stage == "train"
        latents, others = self.student.latents(), self.student.others()
        groups = [{"params": params, "lr": 0.0} for params in (latents, others) if params]
        dense_rate = self.settings.dense_rate
        self.peaks = (self.settings.rate, dense_rate) if latents else (FINISH_RATE * dense_rate,)
        self.optimiser = torch.optim.AdamW(groups, betas=BETAS, weight_decay=0, foreach=True)
        self.average = Average(latents + others, self.settings.average)
        if run.loop:
            self.optimiser.load_state_dict(run.loop["optimiser"])
            self.average.restore(run.loop["average"])

    def state(self):
        return {"optimiser": self.optimiser.state_dict(), "average": self.average.values}

    def run_all(self):
        run = self.run
        curve = run.record["curves"].setdefault(run.stage, [])
        run.progress.begin(run.stage, self.steps, run.step)
        while run.step < self.steps:
            curve.append(self.step(run.step))
            run.step += 1
            run.progress.advance(run.step, curve[-1][self.OUTPUT])
            run.save_when_due(self.state)
        self.average.apply()

    def step(self, step):
        """One optimiser step. Returns its entry of the loss curve."""
        fraction = step / self.steps
        blend = blend_at(fraction, self.settings.blend_share) if self.training else 0.0
        weight = feature_weight_at(fraction, self.settings.feature_weight) if self.training else 0.0
        learn_scales = not self.training or fraction >= SCALES_LEARN_FROM
        if not learn_scales:
            self.student.follow()
        flips = self.student.load(blend)
        sums = self.accumulate(step, fraction, weight, blend, learn_scales)
        rate = rate_at(step, self.steps)
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = peak * rate
        entry = self.entry(step, sums, flips, rate, blend, weight)
        clip_gradients(self.parameters())
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.student.keep_scales_positive()
        self.average.update(step)
        return entry

    def accumulate(self, step, fraction, weight, blend, learn_scales):
        """Gradients of the whole step in the masters. Returns the summed losses f64 [2]."""
        run, settings = self.run, self.settings
        mine = range(processes.rank(), settings.batch, processes.count())
        samples, depth = plan(
            settings, run.stage, step, fraction, run.family, run.trained_rows, mine
        )
        transformer, sums = self.student.transformer, torch.zeros(2, dtype=torch.float64)
        for first in range(0, len(samples), settings.micro_batch):
            chosen = samples[first : first + settings.micro_batch]
            batch = assemble(chosen, depth, run.family, run.trajectories, transformer)
            velocity, feature = distances(run.family, transformer, run.teacher, batch, weight > 0)
            ((velocity + weight * feature).sum() / len(samples)).backward()
            self.student.collect(blend, learn_scales)
            sums += torch.stack([velocity.detach().sum(), feature.detach().sum()]).double().cpu()
        return sums

    def entry(self, step, sums, flips, rate, blend, weight):
        """Means over the step's samples and weights. Raises ExportError when not finite."""
        values = sum(values.numel() for values in self.student.values.values())
        counted = torch.tensor([*sums.tolist(), flips.item(), values], dtype=torch.float64)
        output, feature, flips, values = processes.total(counted.to(self.run.device)).tolist()
        output, feature = output / self.settings.batch, feature / self.settings.batch
        if not math.isfinite(output + feature):
            raise ExportError(
                f"{self.run.stage}: the loss is {output} at step {step}, expected a finite one; "
                "go on from the last checkpoint with lower rates in another --work"
            )
        return {"step": step, "loss": output + weight * feature, self.OUTPUT: output,
                "features": feature, "flips": flips / values, "rate": rate,
                "blend": blend}

    def parameters(self):
        return [p for group in self.optimiser.param_groups for p in group["params"]]


@torch.no_grad()
def clip_gradients(parameters):
    """Shrinks the gradients to a norm of LARGEST_GRADIENT over all processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    squares = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
    norm = processes.total(squares).sqrt()
    torch._foreach_mul_(gradients, (LARGEST_GRADIENT / norm.clamp(min=LARGEST_GRADIENT)).item())
