"""Small teachers of the other families in full precision, and diffusers' own drawings with them."""

from dataclasses import dataclass

from tests import flux1_reference, sana_reference
from tests.flux1_checkpoints import make_flux1
from tests.sana_checkpoints import make_sana

PROMPT = "an old pine in the snow"


@dataclass(frozen=True)
class Small:
    """A teacher of a shape; linears: its low-bit weights; group: inputs that share a scale."""

    family: str
    shape: str
    linears: int
    group: int
    steps: int
    side: int
    scheduler: str | None = None
    call: tuple = ()
    words: tuple = ()  # of the command line

    def write(self, path):
        """A diffusers folder whose block linears lie on no grid."""
        call = {"num_inference_steps": self.steps, "width": self.side, "height": self.side}
        if self.family == "flux1":
            return make_flux1(path, self.shape, None, **call)
        return make_sana(path, self.shape, None, self.scheduler, **call, **dict(self.call))

    def draw(self, path):
        """What diffusers draws, stage by stage; where it draws noise again, only once."""
        module = flux1_reference if self.family == "flux1" else sana_reference
        return module.reference(path, PROMPT, 5, self.side, self.side)


TEACHERS = {
    "dev": Small("flux1", "dev", 14 + 2 * 6, 128, 3, 32),
    "schnell": Small("flux1", "own", 14 + 6, 128, 3, 64, words=("--text-encoder-bits", 16)),
    "sana-dpm": Small("sana", "wide", 10, 160, 4, 64, call=(
        ("guidance_scale", 3.0), ("negative_prompt", "grey, flat"))),
    "sana-euler": Small("sana", "heads", 2 * 10, 112, 3, 64, "euler"),
    "sprint": Small("sana", "sprint", 2 * 10, 64, 2, 64, call=(("intermediate_timesteps", 1.3),)),
}
