"""Sigmas and noise without torch: diffusers' and torch's own, as tests/web/goldens has them."""

import hashlib

import numpy as np
import pytest

from export.errors import ExportError
from export.families.call import Call
from export.samplers import dpm_solver, flow_euler, flow_euler_dynamic, flow_euler_twice, scm
from export.samplers.noise import torch_randn, uniforms
from export.source.configuration import Configuration
from tests.web.golden_files import decode, read

SCHEDULES = {flow_euler: read("schedule"), flow_euler_dynamic: read("flux1_schedule")}
SANA, NOISE = read("sana_schedule"), read("noise")
MODULES = {dpm_solver.CLASS: dpm_solver, flow_euler_twice.CLASS: flow_euler_twice, scm.CLASS: scm}
DPM = {"_class_name": dpm_solver.CLASS, "use_flow_sigmas": True, "prediction_type":
       "flow_prediction", "flow_shift": 3.0}
EULER = {"_class_name": flow_euler_twice.CLASS, "shift": 3.0}
SCM = {"_class_name": scm.CLASS, "sigma_data": 0.5}


@pytest.mark.parametrize("module", SCHEDULES, ids=lambda module: module.__name__.split(".")[-1])
@pytest.mark.parametrize("tokens", SCHEDULES[flow_euler]["of"])
def test_sigmas_are_diffusers(tokens, module):
    config, want = SCHEDULES[module]["config"], SCHEDULES[module]["of"][tokens]
    for steps, sigmas in want["sigmas"].items():
        got = module.sigmas(int(steps), int(tokens), config)
        np.testing.assert_array_equal(got, decode(sigmas), err_msg=f"{steps} steps")
    digest = hashlib.sha256()
    for steps in range(1, 51):
        digest.update(module.sigmas(steps, int(tokens), config).astype("<f4"))
        digest.update(module.times(steps, int(tokens), config).astype("<f4"))
    assert digest.hexdigest() == want["sha256"]


def test_flux1_s_shift_is_static_where_the_scheduler_says_so():
    dev = SCHEDULES[flow_euler_dynamic]["config"]
    schnell = dev | {"shift": 1.0, "use_dynamic_shifting": False}
    assert flow_euler_dynamic.shift_of(dev) == "dynamic"
    assert flow_euler_dynamic.shift_of(schnell) == "static"
    np.testing.assert_array_equal(flow_euler_dynamic.sigmas(4, 4096, schnell),
                                  np.array([1, 0.75, 0.5, 0.25, 0], "f4"))


@pytest.mark.parametrize("change, told", [
    ({"max_image_seq_len": 256}, "base_image_seq_len and max_image_seq_len are both 256"),
    ({"max_shift": 900.0}, r"shift large pictures by exp\(15\d+\), expected at most exp\(80\)"),
    ({"time_shift_type": "linear"}, "time_shift_type is 'linear'"),
])
def test_lines_of_a_dynamic_shift_that_are_refused(change, told):
    own = SCHEDULES[flow_euler_dynamic]["config"]

    def read(values):
        config = Configuration("scheduler_config.json", values)
        return flow_euler_dynamic.read_config(config, own, Call(28, 512))

    assert read(own) == own
    assert read(own | {"use_dynamic_shifting": False, "max_image_seq_len": 256})["shift"] == 3
    with pytest.raises(ExportError, match=told):
        read(own | change)


@pytest.mark.parametrize("one", SANA["schedules"], ids=lambda one: str(one["config"]))
def test_sigmas_of_sana_are_diffusers(one):
    module, digest = MODULES[one["class"]], hashlib.sha256()
    assert module.shift_of(one["config"]) == one["shift"]
    for steps in range(1, 51):
        got = module.sigmas(steps, 0, one["config"]), module.times(steps, 0, one["config"])
        if want := one["of"].get(str(steps)):
            for mine, key in zip(got, ("sigmas", "times"), strict=True):
                np.testing.assert_array_equal(mine, decode(want[key]), err_msg=f"{key}, {steps}")
        digest.update(b"".join(values.astype("<f4").tobytes() for values in got))
    assert digest.hexdigest() == one["sha256"]


def test_angles_of_sprint_are_diffusers():
    for one in SANA["draws"]:
        if one["class"] == scm.CLASS:
            steps, config = one["steps"], one["config"]
            np.testing.assert_array_equal(scm.angles(steps, config), decode(one["angles"]))
            np.testing.assert_allclose(scm.times(steps, 0, config), decode(one["times"]), rtol=0,
                                       atol=6e-8)  # torch's sine may be off by a bit


def read_config(values, own=None):
    module = MODULES[values["_class_name"]]
    return module.read_config(Configuration("scheduler_config.json", values), {},
                              Call(20, 300, own=own or {}))


def test_values_of_sana_s_schedulers():
    usual = {"num_train_timesteps": 1000, "flow_shift": 3.0, "solver_order": 2}
    without_effect = {"beta_end": 0.5, "lower_order_final": False, "timestep_spacing": "leading"}
    assert read_config(DPM | without_effect) == usual
    assert read_config(DPM | {"solver_order": 1}) == usual | {"solver_order": 1}
    assert dpm_solver.read_config(None, {}, Call(20, 300)) == usual
    assert read_config(EULER) == flow_euler_twice.read_config(None, {}, Call(20, 300)) == {
        "num_train_timesteps": 1000, "shift": 3.0}
    for between in (1.3, None):
        assert read_config(SCM, {"intermediate_timesteps": between}) == {
            "max_timesteps": 1.5708, "intermediate_timesteps": between}


@pytest.mark.parametrize("values, told", [
    (DPM | {"use_flow_sigmas": None}, "use_flow_sigmas is False"),
    (DPM | {"prediction_type": None}, "prediction_type is 'epsilon'"),
    (DPM | {"solver_order": 3}, "solver_order is 3"),
    (DPM | {"solver_type": "heun"}, "solver_type is 'heun'"),
    (DPM | {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type is 'sde-dpmsolver"),
    (DPM | {"final_sigmas_type": "sigma_min"}, "final_sigmas_type is 'sigma_min'"),
    (DPM | {"use_karras_sigmas": True}, "use_karras_sigmas is True"),
    (DPM | {"thresholding": True}, "thresholding is True"),
    (DPM | {"use_lu_lambdas": True}, "use_lu_lambdas is True"),
    (DPM | {"num_train_timesteps": 1}, "num_train_timesteps is 1, expected .* from 2 to"),
    (DPM | {"something": 3}, "something is 3, a key that this version does not know"),
    (EULER | {"use_dynamic_shifting": True}, "use_dynamic_shifting is True"),
    (EULER | {"shift_terminal": 0.1}, "shift_terminal is 0.1"),
    (EULER | {"stochastic_sampling": True}, "stochastic_sampling is True"),
    (SCM | {"prediction_type": "epsilon"}, "prediction_type is 'epsilon'"),
    (SCM | {"sigma_max": 80}, "sigma_max is 80, a key that this version does not know"),
], ids=str)
def test_settings_of_sana_s_schedulers_that_are_refused(values, told):
    with pytest.raises(ExportError, match=told):
        read_config(values)


@pytest.mark.parametrize("one", NOISE["normal"], ids=lambda one: f"{one['seed']}-{one['count']}")
def test_noise_is_torch_s(one):
    got = torch_randn(one["seed"], one["count"])
    assert len(got) == one["count"]
    np.testing.assert_allclose(got[::one["every"]], decode(one["values"]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", NOISE["uniform"])
def test_uniforms_bit_for_bit(seed):
    got = uniforms(np.random.RandomState(int(seed) % 2**32), 5000).astype("<f4")
    assert hashlib.sha256(got).hexdigest() == NOISE["uniform"][seed]


def test_fewer_values_than_a_block_are_refused():
    with pytest.raises(ExportError, match="noise of 15 values"):
        torch_randn(0, 15)
