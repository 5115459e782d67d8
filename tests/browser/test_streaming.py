"""Weights that come layer by layer, text without padding, and what both take of GPU memory."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from export.autoencoders import kl
from export.denoisers import flux2
from export.denoisers.flux2_tables import plan_folding
from export.families.family import Sampler
from export.families.flux2 import FLUX2, TAPS
from export.layouts.floats import channels_last
from export.packing.formats import Storage
from export.packing.pack import USES
from export.packing.spec import LOWBIT, ROWS
from export.samplers import flow_euler
from export.source.configuration import Configuration
from export.text_encoders import qwen3
from tests.browser import faults
from tests.browser.library import Library, LibraryError
from tests.browser.test_parity import LEAST_PSNR, LIMITS, check
from tests.closeness import psnr
from tests.reference import reference
from tests.streamed import load_streamed

REQUEST = {"prompt": "an old pine in the snow", "seed": 7, "width": 64, "height": 64, "steps": 2}
MODES = {"resident": {}, "in turn": {"memoryBudget": 0}, "small": {"memory": "small"}}
BLOCK_LIMIT = 1e-4  # relative L2 error of a block's tokens against diffusers


@pytest.fixture(scope="module")
def checkpoint(made):
    return made("uneven")


@pytest.fixture(scope="module")
def library(checkpoint, site, server, browser):
    with Library(browser, server(site(checkpoint, shard_mib=1)), keeps_kernels=True) as library:
        yield library


def test_streamed_and_resident_pictures_are_the_same(library):
    """In each mode as planned, the second as the first; and after one that was cancelled."""
    drawn, small, planned = {}, {}, {}
    for mode, options in MODES.items():
        library.load(**options)
        for text_tokens in ("padded", "trimmed"):
            request = REQUEST | {"textTokens": text_tokens}
            picture = library.generate(**request)
            assert picture["peakBytes"] == library.plan(**request)["peakBytes"], (mode, text_tokens)
            assert picture["peakBytes"] == library.generate(**request)["peakBytes"]
            drawn[mode, text_tokens] = picture["rgba"]
            smallest = request | {"width": 16, "height": 16}
            small[mode, text_tokens] = library.plan(**smallest)["peakBytes"]
            for memory in ("small", "auto"):
                planned[mode, text_tokens, memory] = library.plan(memory=memory, **smallest)
    for text_tokens in ("padded", "trimmed"):
        for mode in MODES:
            np.testing.assert_array_equal(
                drawn[mode, text_tokens], drawn["resident", text_tokens], err_msg=mode)
        as_small, in_turn, resident = (small[mode, text_tokens]
                                       for mode in ("small", "in turn", "resident"))
        assert as_small < in_turn < resident
        for mode in MODES:
            assert planned[mode, text_tokens, "small"]["peakBytes"] == as_small, mode
        assert planned["in turn", text_tokens, "auto"]["peakBytes"] == in_turn
        assert planned["small", text_tokens, "auto"]["peakBytes"] == resident
    assert not library.complaints

    with pytest.raises(LibraryError) as caught:  # the last one streams
        library.generate(cancel_at={"stage": "denoise", "step": 1}, **REQUEST)
    assert caught.value.name == "AbortError"
    again = library.generate(**REQUEST)
    np.testing.assert_array_equal(again["rgba"], drawn["small", "padded"])
    assert again["peakBytes"] == library.plan(**REQUEST)["peakBytes"]


def test_half_of_a_large_denoiser_stays(library, checkpoint, site, server, browser):
    """Of one that is larger than what may be there as a whole; the rest is read in each step."""
    dist = site(checkpoint, shard_mib=1)
    manifest = json.loads((dist / "model" / "manifest.json").read_text())
    half = manifest["components"]["transformer"]["gpu_bytes"] // 2
    context = browser.new_context()
    faults.alter(context, "**/engine/stages.js", "2 ** 30", str(half))
    smallest = REQUEST | {"width": 16, "height": 16}
    library.load(memoryBudget=0)
    whole = library.generate(**smallest)
    small = library.plan(memory="small", **smallest)["peakBytes"]
    with Library(browser, server(dist), context=context) as parted:
        parted.load(memoryBudget=0)
        picture = parted.generate(**smallest)
        assert picture["peakBytes"] == parted.plan(**smallest)["peakBytes"]
        assert small < picture["peakBytes"] < whole["peakBytes"]
        assert picture["stageBytes"]["denoise"] - small > half / 2, "something stays"
        np.testing.assert_array_equal(picture["rgba"], whole["rgba"])
        assert not parted.complaints


@pytest.mark.parametrize("options", [{"memory": "little"}, {"textTokens": "few"}])
def test_unknown_choice(library, options):
    with pytest.raises(LibraryError) as caught:
        library.load(**options)
    (name, value), = options.items()
    assert caught.value.name == "InputError"
    assert name in caught.value.message and value in caught.value.message


def test_trimmed_text_matches_diffusers_block_by_block(library, checkpoint):
    """Against diffusers with weights of its own for one block at a time, and no padding."""
    library.load(memory="small", textTokens="trimmed")
    small = REQUEST | {"width": 16, "height": 16}
    most = library.plan(**small | {"textTokens": "padded"})["peakBytes"]
    assert library.plan(**small)["peakBytes"] == library.generate(**small)["peakBytes"] < most
    assert library.plan(width=16, height=16, steps=2)["peakBytes"] == most, "for any prompt"
    got = library.generate(tensors=True, blocks=True, **REQUEST)
    want = reference(checkpoint, **REQUEST, max_sequence_length=got["tokens"]["count"],
                     pipeline=load_streamed(checkpoint))
    seen = got["seen"]
    assert got["tokens"]["limit"] > got["tokens"]["count"] == len(seen["token_ids"])
    np.testing.assert_array_equal(seen["token_ids"], want["token_ids"])
    check("encoder_rows", seen["encoder_rows"], want["encoder_rows"], LIMITS["encoder_rows"])
    assert len(want["blocks"]) == 5
    for name, steps in want["blocks"].items():
        for step, tokens in enumerate(steps):
            full = f"block.{name}.{step}"
            check(full, seen[full], tokens, BLOCK_LIMIT)
    assert psnr(got["rgba"][..., :3], want["picture"]) >= LEAST_PSNR
    assert not any(name.startswith("block.")
                   for name in library.generate(tensors=True, **small)["seen"])


# ---- large tensors and the published size ------------------------------------------------------

PIECES = """
async () => {
  const [{ openDevice, watchDevice }, { Kernels }, { Allocator }, { Ops }, { Weights }] =
    await Promise.all(['device', 'kernels', 'memory', 'ops', 'weights']
      .map((name) => import(new URL(`engine/${name}.js`, library.code))));
  const { device } = await openDevice();
  const { fetchText } = await import(new URL('loader/fetching.js', library.code));
  const kernels = new Kernels(device, new URL('wgsl/', library.code), fetchText);
  await kernels.load(['unpack_trits']);
  const ops = new Ops({ device, kernels, watch: watchDevice(device),
    allocator: new Allocator(device, 2 ** 27) });
  const [rows, columns] = [9000, 4992];
  const random = (length, most) => {
    let state = 1;
    return Uint8Array.from({ length }, () => {
      state = state * 1664525 + 1013904223 >>> 0;
      return (state >>> 16) % most;
    });
  };
  const stored = {
    't.a.weight codes': random(Math.ceil(rows * columns / 20) * 4, 243),
    't.a.weight scales': random(rows * columns / 128 * 2, 256),
    't.b.weight data': random(9_000_001 * 2, 256),
  };
  const entries = {
    't.a.weight': { storage: 'ternary', shape: [rows, columns], group: 128, scales_dtype: 'bf16' },
    't.b.weight': { storage: 'bf16', shape: [1, 9_000_001] },
  };
  let largest = 0;
  const partsOf = (name) => ['data', 'codes', 'scales'].filter((p) => stored[`${name} ${p}`]);
  const weights = await new Weights(ops, {
    names: () => Object.keys(entries), entry: (name) => entries[name], parts: partsOf,
    bytes: (name, part) => stored[`${name} ${part}`].length,
    part: async (name, part, start, count) => {
      largest = Math.max(largest, count);
      return stored[`${name} ${part}`].slice(start, start + count);
    },
  }, 't').load();
  const differences = async (tensor, expected) => {
    const got = new Uint8Array(await ops.read(tensor));
    return expected.reduce((sum, value, i) => sum + (value !== got[i]), 0);
  };
  const trits = stored['t.a.weight codes'];
  const digit = (k) => Math.floor(trits[Math.floor(k / 5)] / 3 ** (k % 5)) % 3;
  const codes = Uint8Array.from({ length: rows * columns / 4 }, (_, i) =>
    digit(4 * i) | digit(4 * i + 1) << 2 | digit(4 * i + 2) << 4 | digit(4 * i + 3) << 6);
  const { codes: c, scales } = weights.get('a');
  const wrong = [await differences(c, codes),
    await differences(scales, stored['t.a.weight scales']),
    await differences(weights.get('b').data, stored['t.b.weight data'])];
  device.destroy();
  return { wrong, largest };
}
"""


def test_large_tensors_are_uploaded_in_pieces(library):
    """Base 3, scales and 16-bit values that end within a word, each longer than one piece."""
    outcome = library.page.evaluate(PIECES)
    assert outcome["wrong"] == [0, 0, 0]
    assert outcome["largest"] <= 2**23


BONSAI = {  # the published model's configurations
    "transformer": {
        "num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24,
        "joint_attention_dim": 7680,
    },
    "text_encoder": {
        "model_type": "qwen3", "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "hidden_size": 2560,
        "intermediate_size": 9728, "rope_theta": 1e6, "vocab_size": 151936,
    },
    "vae": {"block_out_channels": [128, 256, 512, 512], "layers_per_block": 2,
            "latent_channels": 32, "norm_num_groups": 32},
}
MEASURE = """
async ({ manifest, size, memory, length }) => {
  const [{ Kernels }, { KERNELS }, { Allocator }, { Ops }] =
    await Promise.all(['kernels', 'selfcheck', 'memory', 'ops']
      .map((name) => import(new URL(`engine/${name}.js`, library.code))));
  const { rehearsing } = await import(new URL('api/rehearsals.js', library.code));
  const { draw } = await import(new URL('models/draw.js', library.code));
  const { familyOf } = await import(new URL('models/families.js', library.code));
  const { fetchText } = await import(new URL('loader/fetching.js', library.code));
  const kernels = new Kernels(null, new URL('wgsl/', library.code), fetchText);
  await kernels.load(KERNELS);
  const allocator = new Allocator(null, 2 ** 27);
  const g = new Ops({ device: null, kernels, allocator });
  const family = familyOf(manifest);
  const executor = rehearsing(g, manifest, family, { budget: 2 ** 30, memory });
  const peaks = {};
  let stage = 'encode';
  const onProgress = (progress) => {
    peaks[stage] = Math.max(peaks[stage] ?? 0, allocator.peakBytes);
    stage = progress.stage;
    allocator.resetPeak();
  };
  const texts = [[{ ids: new Int32Array(length), valid: 1 }]];
  await draw(executor, family, manifest, { texts, seed: 0, width: size, height: size, steps: 2 },
    { onProgress, observe: () => {} });
  onProgress({});
  return peaks;
}
"""


@pytest.fixture(scope="module")
def bonsai():
    """A manifest of the published ternary model's size, without any bytes behind it."""
    def config(name):
        return Configuration(name, BONSAI[name])

    transformer = flux2.read_config(config("transformer"))
    encoder = qwen3.read_config(config("text_encoder"), TAPS)
    autoencoder = kl.read_config(config("vae"))
    parts = {
        "text_encoder": (encoder, qwen3.spec(encoder)),
        "transformer": (transformer, flux2.spec(transformer)),
        "autoencoder": (autoencoder, kl.spec(autoencoder)),
    }
    tensors, components = {}, {}
    for component, (settings, specs) in parts.items():
        storages = {name: storage(component, spec) for name, spec in specs.items()}
        for name, kept in storages.items():
            entry = {"storage": kept.kind, "shape": kept.shape, "group": kept.group,
                     "scales_dtype": kept.scales_dtype}
            extents = {part: [[0, 0, count]] for part, count in kept.part_bytes().items()}
            role = specs[name].role
            entry |= {"use": role} if role in USES else {}
            tensors[f"{component}.{name}"] = entry | extents
        resident = [s.gpu_bytes for name, s in storages.items() if specs[name].role != ROWS]
        components[component] = {"config": settings.manifest(), "gpu_bytes": sum(resident)}
    offered = SimpleNamespace(width=512, height=512, sizes=[], num_inference_steps=4)
    latents = FLUX2.latents({"transformer": transformer, "autoencoder": autoencoder})
    folding = plan_folding(transformer, offered, latents.pixels, flux2.SCHEDULER)
    for table in folding.tables:
        data = [[0, 0, table.storage.wire_bytes]]
        entry = {"storage": "f32", "shape": table.storage.shape, "data": data}
        tensors[f"transformer.{table.name}"] = entry
    sampler = Sampler(flow_euler.CLASS, flow_euler, flux2.SCHEDULER)
    return json.loads(json.dumps({
        "name": "bonsai", "family": FLUX2.name, "prompts": [{"encoder": "text_encoder"}],
        "latents": latents.manifest(), "sampler": sampler.manifest(),
        "schedules": folding.manifest("transformer"), "components": components, "tensors": tensors,
    }))


def storage(component, spec):
    if spec.role == LOWBIT:
        return Storage("ternary", spec.shape, 128, "bf16")
    if component == "text_encoder" and len(spec.shape) == 2:
        return Storage("affine4", spec.shape, 64, "bf16")
    return Storage("bf16", channels_last(spec))


@pytest.mark.parametrize(("size", "memory", "most"), [
    (512, "auto", 1.6e9), (1024, "auto", 2.0e9), (512, "small", 1.2e9),
])
def test_the_published_model_fits(library, bonsai, size, memory, most):
    """Every stage, with buffers of at most 128 MiB."""
    peaks = library.page.evaluate(MEASURE, {"manifest": bonsai, "size": size, "memory": memory,
                                            "length": 512})
    assert set(peaks) == {"encode", "denoise", "decode"}
    assert max(peaks.values()) <= most, peaks
