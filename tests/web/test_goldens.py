"""The numbers that tests without torch hold against are those of torch, diffusers, transformers."""

import json

import numpy as np

from tests import goldens
from tests.web.golden_files import decode, read


def test_schedules_are_diffusers():
    assert read("schedule") == goldens.schedules()


def test_schedules_of_sana_are_diffusers():
    """Latents and sines to 1e-6, for torch's sines and cosines differ by machine."""
    kept, now = read("sana_schedule"), json.loads(json.dumps(goldens.sana_schedules()))
    for old, new in zip(kept["draws"], now["draws"], strict=True):
        for key in {"latents", "times", "angles"} & old.keys():
            np.testing.assert_allclose(decode(old.pop(key)), decode(new.pop(key)), rtol=0,
                                       atol=1e-6)
    assert kept == now


def test_noise_is_torch_s():
    """To 1e-6, in which torch's own logarithms and cosines differ by machine; uniforms exactly."""
    kept, now = read("noise"), goldens.noises()
    assert kept["uniform"] == now["uniform"]
    for old, new in zip(kept["normal"], now["normal"], strict=True):
        np.testing.assert_allclose(decode(old.pop("values")), decode(new.pop("values")), rtol=0,
                                   atol=1e-6, err_msg=str(old))
        assert old == new
    for old, new in zip(kept["continued"]["draws"], now["continued"]["draws"], strict=True):
        np.testing.assert_allclose(decode(old), decode(new), rtol=0, atol=1e-6)


def test_prompts_are_transformers():
    assert read("prompts") == json.loads(json.dumps(goldens.prompts()))
