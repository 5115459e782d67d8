"""A picture of FLUX.1 in the browser beside diffusers', stage by stage: cases, and how far off."""

from dataclasses import dataclass, field

import numpy as np

from tests.closeness import psnr, relative_error

PROMPTS = {
    "english": "An old Pine in the snow, it's late",
    "chinese": "雪中的一棵小松树，旁边有一只红狐狸",
    "empty": "",
    "overlong": "a quiet garden with a stone lantern and two juniper trees, " * 12,
}

# Relative L2 error against diffusers, f32 on both sides.
LIMITS = {"pooled": 2e-6, "rows": 2e-6, "velocity": 2e-5, "latents": 3e-5, "decoded": 3e-5}
NOISE_LIMIT = 1e-6  # absolute: torch's logarithm and sine differ by machine
LEAST_PSNR = 50.0   # dB


@dataclass(frozen=True)
class Model:
    """shape and variant as make_flux1 takes them."""

    shape: str
    variant: str = "ternary"

    @property
    def id(self):
        return f"{self.shape}-{self.variant}"


@dataclass(frozen=True)
class Case:
    """One picture of a model; what is None is left to the model."""

    prompt: str
    width: int
    height: int
    steps: int | None = None
    guidance: float | None = None
    seed: int = 3

    @property
    def size(self):
        return {"width": self.width, "height": self.height}

    def request(self):
        """As the library takes it."""
        given = {"steps": self.steps, "guidanceScale": self.guidance}
        return {"prompt": PROMPTS[self.prompt], "seed": self.seed, **self.size} | {
            key: value for key, value in given.items() if value is not None}

    def reference(self):
        """As tests.flux1_reference takes it."""
        return {"prompt": PROMPTS[self.prompt], "seed": self.seed, "steps": self.steps,
                "guidance": self.guidance, **self.size}


@dataclass
class Compared:
    """The largest relative error of each stage, and the picture's PSNR."""

    errors: dict = field(default_factory=dict)
    psnr: float = np.inf

    def add(self, stage, got, want):
        assert got.shape == want.shape, f"{stage}: shape {got.shape}, expected {want.shape}"
        kind = stage.split()[0]
        error = relative_error(got, want)
        assert error <= LIMITS[kind], f"{stage}: relative error {error:.1e} > {LIMITS[kind]:.0e}"
        self.errors[kind] = max(error, self.errors.get(kind, 0))


def compare(drawn, want):
    """Every stage in the order of drawing, of what Library.generate and reference() made."""
    seen, result = drawn["seen"], Compared()
    for n, (encoder, ids) in enumerate(want["token_ids"].items()):
        name = f"token_ids.{n}" if n else "token_ids"
        np.testing.assert_array_equal(seen[name], ids, err_msg=f"ids of {encoder}")
    result.add("pooled", seen["encoder_rows"], want["pooled"])
    result.add("rows", seen["encoder_rows.1"], want["rows"])
    np.testing.assert_allclose(seen["noise"], want["noise"], rtol=0, atol=NOISE_LIMIT)
    np.testing.assert_array_equal(seen["sigmas"], want["sigmas"], err_msg="sigmas")
    steps = len(want["velocity"])
    assert f"velocity.{steps}" not in seen, f"more than {steps} steps"
    for step, velocity in enumerate(want["velocity"]):
        result.add(f"velocity {step}", seen[f"velocity.{step}"], velocity)
    result.add("latents", seen["latents"], want["latents"])
    result.add("decoded", seen["decoded"], want["decoded"])
    assert (drawn["rgba"][..., 3] == 255).all()
    result.psnr = psnr(drawn["rgba"][..., :3], want["picture"])
    assert result.psnr >= LEAST_PSNR, f"PSNR {result.psnr:.1f} dB, at least {LEAST_PSNR} expected"
    return result
