"""FLUX.1's denoiser as the engine runs it against diffusers' in float32, and the MLP in chunks."""

import numpy as np
import pytest

from export.denoisers import flux1
from export.packing.memory import Picture
from export.site.code import write_code
from tests import oracles
from tests.browser.denoising import given, peaks, velocities
from tests.browser.library import Library, array_of
from tests.browser.opened_engine import OPEN
from tests.closeness import relative_error
from tests.flux1_transformer import make_transformer, pack_transformer, published, reference
from tests.kernels.packing import normal

LIMIT = 1e-4  # relative L2 error of a velocity
TEXT, POOLED = 40, 24
DEV = dict(  # three heads of 64, told a guidance; more single blocks than double ones
    groups={192: 96, 768: 64, 960: 192}, kind="ternary", in_channels=16, num_layers=1,
    num_single_layers=2, attention_head_dim=64, num_attention_heads=3, axes_dims_rope=[16, 24, 24],
    joint_attention_dim=TEXT, pooled_projection_dim=POOLED, guidance_embeds=True)
SCHNELL = dict(  # narrow heads with uneven axes, told none; more double blocks than single ones
    groups={64: 64, 256: 128, 320: 32}, kind="binary", in_channels=8, num_layers=2,
    num_single_layers=1, attention_head_dim=8, num_attention_heads=8, axes_dims_rope=[2, 2, 4],
    joint_attention_dim=TEXT, pooled_projection_dim=POOLED)
MLP = """
async ({ tensors: { x, up, bias, down, gate, y } }) => {
  const { ops } = opened;
  const put = ({ data, shape }) => ops.upload(new Float32Array(
    Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer), shape, 'input');
  const weight = (one) => ({ label: 'w', shape: one.shape, storage: 'f32', data: put(one) });
  const made = ops.mlp(put(x), { up: [weight(up), put(bias)], down: [weight(down), [4, 16384]] },
    'gelu_tanh', { into: put(y), gate: [put(gate), 1] });
  const data = library.encode(new Uint8Array(await ops.read(made)));
  ops.reset();
  return { shape: made.shape, type: 'Float32Array', data };
}
"""
REHEARSE = """
async ({ manifest, grid, length, steps }) => {
  const load = (path) => import(new URL(path, library.code));
  const { TensorFiles } = await load('loader/tensors.js');
  const { Weights } = await load('engine/weights.js');
  const { Flux1 } = await load('models/denoisers/flux1.js');
  const g = opened.rehearsal();
  const { allocator } = g;
  const weights = await new Weights(g, new TensorFiles(manifest, {}), 'transformer').load();
  const resident = allocator.liveBytes;
  const { config } = manifest.components.transformer;
  const denoiser = new Flux1(g, weights, config);
  const empty = (...shape) => ({ rows: [g.empty(shape, 'rows')] });
  const encoded = [empty(1, config.pooled_projection_dim),
    empty(length, config.joint_attention_dim)];
  const latents = g.empty([grid.height * grid.width, config.in_channels], 'latents');
  const state = denoiser.prepare(encoded,
    { grid, times: Array(steps).fill(1), guidanceScale: 1 });
  await g.drain();
  allocator.resetPeak();
  g.release(await denoiser.velocity(latents, 0, state, { observe() {} }));
  return allocator.peakBytes - resident;
}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory, server):
    """A site of code alone; what is packed lies beside it, in folders of their own."""
    folder = tmp_path_factory.mktemp("site")
    write_code(folder)
    return folder, server(folder)


@pytest.fixture(scope="module")
def page(browser, url):
    with Library(browser, url[1]) as library:
        library.page.evaluate(OPEN)
        yield library.page
        assert library.complaints == []


def packed(model, name, url, tmp_path):
    """What a call says of the model."""
    folder, address = url
    manifest = pack_transformer(model, tmp_path, folder / name)
    return {"denoiser": ["flux1", "Flux1"], "manifest": manifest, "url": f"{address}{name}/"}


def compare(got, step, text, want, blocks):
    assert relative_error(got[f"velocity.{step}.{text}"], want) <= LIMIT
    if text == 0:
        errors = {name: relative_error(got[f"block.{name}.{step}"], block)
                  for name, block in blocks.items()}
        assert len(errors) == 3 and max(errors.values()) <= LIMIT, errors


def test_dev_told_a_guidance(page, url, tmp_path):
    """Eleven steps, whose modulations are computed eight and three at a time; and what they take

    is what a rehearsed step takes.
    """
    model = make_transformer(**DEV)
    times = np.linspace(1000, 90, 11, dtype=np.float32).tolist()
    call = packed(model, "dev", url, tmp_path) | {
        "latents": normal(1, 35, 16), "grid": (5, 7), "times": times, "guidanceScale": 2.3,
        "contexts": [[normal(2, 1, POOLED), normal(3, 13, TEXT)],
                     [normal(4, 1, POOLED), normal(5, 1, TEXT)]]}
    steps = [0, 7, 8, 10]
    got, done = velocities(page, **call, steps=steps)
    for step in steps:
        for text, (pooled, rows) in enumerate(call["contexts"]):
            compare(got, step, text, *reference(
                model, call["latents"], (5, 7), pooled, rows, times[step], 2.3))
    assert done["left"] == 0
    planned, taken = peaks(page, **call)
    assert planned == taken


def test_schnell_streamed(page, url, tmp_path):
    """Layer by layer, and steps in any order."""
    model = make_transformer(**SCHNELL, seed=1)
    times, steps = [1000, 750, 500, 250], [2, 0]
    call = packed(model, "schnell", url, tmp_path) | {
        "latents": normal(1, 12, 8), "grid": (6, 2), "times": times, "memory": "small",
        "contexts": [[normal(2, 1, POOLED), normal(3, 70, TEXT)]]}
    got, _ = velocities(page, **call, steps=steps)
    [[pooled, rows]] = call["contexts"]
    for step in steps:
        compare(got, step, 0, *reference(
            model, call["latents"], (6, 2), pooled, rows, times[step], None))
    planned, taken = peaks(page, **call)
    assert planned == taken


@pytest.mark.parametrize("side, text, steps", [(1024, 512, 28), (768, 256, 8)])
def test_memory_of_the_published_size(page, side, text, steps):
    """What the exporter expects, and no buffer beyond what every device binds."""
    config, manifest = published("ternary", 128, guidance_embeds=steps == 28)
    edge = side // 16
    got = page.evaluate(REHEARSE, {"manifest": manifest, "length": text, "steps": steps,
                                   "grid": {"height": edge, "width": edge}})
    want = flux1.activation_bytes(config, Picture(side, side, text, edge**2, text))
    print(f"{side}: {got:,} bytes, expected {want:,}, {want / got - 1:+.1%}")
    assert abs(want / got - 1) <= 0.03


def test_an_mlp_in_chunks(page):
    """Of 256 rows and one of 44, from a part of a projection, gated, onto what is there."""
    m, d, f = 300, 8, 16384
    x, y = normal(1, m, d), normal(2, m, d)
    up, bias, down = normal(3, f, d, scale=0.3), normal(4, f), normal(5, d, f + 4, scale=0.01)
    gate = normal(6, 2 * d)
    got = array_of(page.evaluate(MLP, {"tensors": {
        name: given(array) for name, array in
        {"x": x, "y": y, "up": up, "bias": bias, "down": down, "gate": gate}.items()}}))
    middle = oracles.linear_dense(x, up, bias=bias, act=2)
    assert relative_error(got, y + gate[d:] * (middle @ down[:, 4:].T.astype(float))) <= 1e-6
