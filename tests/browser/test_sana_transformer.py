"""Sana's denoiser as the engine runs it against diffusers' in float32, and the ops that it is made

of in strips and in several dispatches.
"""

import numpy as np
import pytest

from export.denoisers import sana
from export.packing.memory import Picture
from export.site.code import write_code
from tests import oracles
from tests.browser.denoising import given, velocities
from tests.browser.library import Library, array_of
from tests.browser.opened_engine import OPEN
from tests.closeness import relative_error
from tests.kernels.packing import normal
from tests.sana_transformer import make_transformer, pack_transformer, published, reference
from tests.tolerance import assert_close

LIMIT = 1e-4  # relative L2 error of a velocity
CAPTIONS = 24
SPRINT = dict(  # two heads of 112 as the published; norms of q and k; told a guidance
    groups={224: 112, 560: 80}, in_channels=8, out_channels=8, num_layers=2,
    num_attention_heads=7, attention_head_dim=32, num_cross_attention_heads=2,
    cross_attention_head_dim=112, cross_attention_dim=224, caption_channels=CAPTIONS,
    qk_norm="rms_norm_across_heads", guidance_embeds=True, timestep_scale=1000.0)
NARROW = dict(  # many narrow heads, biases, places; cross-attention narrower than the tokens
    groups={160: 160, 400: 80, 144: 144}, in_channels=4, out_channels=4, num_layers=2,
    num_attention_heads=40, attention_head_dim=4, num_cross_attention_heads=2,
    cross_attention_head_dim=72, cross_attention_dim=160, caption_channels=CAPTIONS,
    attention_bias=True, sample_size=6, interpolation_scale=2.0, norm_eps=1e-5,
    timestep_scale=0.5)
REHEARSE = """
async ({ manifest, grid, length, channels }) => {
  const load = (path) => import(new URL(path, library.code));
  const { Allocator } = await load('engine/memory.js');
  const { Kernels } = await load('engine/kernels.js');
  const { KERNELS } = await load('engine/selfcheck.js');
  const { Ops } = await load('engine/ops.js');
  const { Weights } = await load('engine/weights.js');
  const { fetchText } = await load('loader/fetching.js');
  const { apartTensors } = await load('loader/requested.js');
  const { TensorFiles } = await load('loader/tensors.js');
  const { Sana } = await load('models/denoisers/sana.js');
  const kernels = new Kernels(null, new URL('wgsl/', library.code), fetchText);
  await kernels.load(KERNELS);
  const allocator = new Allocator(null, 2 ** 27);
  const g = new Ops({ device: null, kernels, allocator });
  const files = new TensorFiles(manifest, {});
  const weights = await new Weights(g, files, 'transformer').load(
    { except: apartTensors(manifest) });
  const resident = allocator.liveBytes;
  const { config } = manifest.components.transformer;
  const D = config.num_attention_heads * config.attention_head_dim;
  const at = () => ({ block: new Float32Array(6 * D), final: new Float32Array(2 * D) });
  const denoiser = new Sana(g, weights, config, { at });
  const rows = [g.empty([length, config.caption_channels], 'rows')];
  const latents = g.empty([grid.height * grid.width, channels], 'latents');
  const state = denoiser.prepare([{ rows }], { grid });
  await g.drain();
  allocator.resetPeak();
  g.release(await denoiser.velocity(latents, 0, state, { observe() {} }));
  const used = [...g.variants.values()].map(([name]) => name);
  return { bytes: allocator.peakBytes - resident, kernels: [...new Set(used)] };
}
"""
OPS = """
async ({ tensors, calls, cost }) => {
  const { ops } = opened;
  if (cost) Object.defineProperty(ops, 'dispatchCost', { value: cost, configurable: true });
  const put = ({ data, shape }) => ops.upload(new Float32Array(
    Uint8Array.from(atob(data), (c) => c.charCodeAt(0)).buffer), shape, 'input');
  const weight = (data, shape) => ({ label: 'w', shape, count: data.count, storage: 'f32', data });
  try {
    const named = Object.fromEntries(Object.entries(tensors).map(([n, given]) => [n, put(given)]));
    const y = new Function('ops', 'weight', 'named', `return ${calls}`)(ops, weight, named);
    return { shape: y.shape, type: 'Float32Array',
      data: library.encode(new Uint8Array(await ops.read(y))) };
  } catch ({ name, message }) {
    return { name, message };
  } finally {
    ops.reset();
    delete ops.dispatchCost;
  }
}
"""
CHECK = "async (variants) => opened.findWrong(opened.ops, variants)"
CHECKED = [
    ("linear_attention_sums", {"DH": 32}), ("linear_attention_sums", {"DH": 20}),
    ("linear_attention_merge", {}), ("linear_attention_apply", {"DH": 32}),
    ("linear_attention_apply", {"DH": 20}), ("add_row", {}),
    ("depthwise", {"KS": 3, "BIAS": 1, "GATED": 1}), ("depthwise", {"KS": 5, "FORMAT": 0}),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory, server):
    """A site of code alone; what is packed lies beside it, in folders of their own."""
    folder = tmp_path_factory.mktemp("site")
    write_code(folder)
    (folder / "sprint").mkdir()
    (folder / "narrow").mkdir()
    return folder, server(folder)


@pytest.fixture(scope="module")
def page(browser, url):
    with Library(browser, url[1]) as library:
        library.page.evaluate(OPEN)
        yield library.page
        assert library.complaints == []


def run(page, url, manifest, latents, texts, grid, times, **call):
    return velocities(page, **{"steps": [0]} | call, denoiser=["sana", "Sana"], manifest=manifest,
                      url=url, latents=latents, contexts=[[text] for text in texts], grid=grid,
                      times=times)


def compare(got, want, blocks, step):
    assert relative_error(got[f"velocity.{step}.0"], want) <= LIMIT
    for i, block in enumerate(blocks):
        error = relative_error(got[f"block.layer.{i}.{step}"], block)
        assert error <= LIMIT, f"block {i}: {error:.1e}"


def test_sprint_told_a_guidance(page, url):
    """Its own guidance by the table, another by the projections, and a text of one row."""
    folder, address = url
    model = make_transformer(**SPRINT)
    moments = np.float32([1, 0.7827])
    manifest = pack_transformer(model, folder / "sprint",
                                lambda steps, tokens: np.resize(moments, steps), 2, 4.5)
    grid, latents = (6, 5), normal(1, 30, 8)
    texts = [normal(2, 9, CAPTIONS), normal(3, 1, CAPTIONS)]
    call = {"page": page, "url": address + "sprint/", "manifest": manifest, "latents": latents,
            "texts": texts, "grid": grid, "times": moments.tolist()}
    got, by_table = run(**call, guidanceScale=4.5, steps=[0, 1])
    for step in range(2):
        compare(got, *reference(model, latents, grid, texts[0], moments[step], 4.5), step)
        want, _ = reference(model, latents, grid, texts[1], moments[step], 4.5)
        assert relative_error(got[f"velocity.{step}.1"], want) <= LIMIT
    got, projected = run(**call, guidanceScale=2.0)
    compare(got, *reference(model, latents, grid, texts[0], moments[0], 2.0), 0)
    apart = {shard for name in manifest["schedules"]["projections"]
             for shard, *_ in manifest["tensors"][name]["data"]}
    assert not apart & set(by_table["shards"]) and apart <= set(projected["shards"])


def test_narrow_heads_streamed(page, url):
    """Layer by layer; 60 steps have no table."""
    folder, address = url
    model = make_transformer(**NARROW, seed=1)
    manifest = pack_transformer(model, folder / "narrow",
                                lambda steps, tokens: np.linspace(999, 9, steps).round(), 3)
    grid, latents, texts = (7, 9), normal(1, 63, 4), [normal(2, 5, CAPTIONS)]
    call = {"page": page, "url": address + "narrow/", "manifest": manifest, "latents": latents,
            "texts": texts, "grid": grid, "memory": "small"}
    for steps, step in ((3, 1), (60, 7)):
        times = np.linspace(999, 9, steps).round()
        got, _ = run(**call, times=times.tolist(), steps=[step])
        compare(got, *reference(model, latents, grid, texts[0], times[step]), step)


@pytest.mark.parametrize("side, values", [
    (512, {}), (1024, {"qk_norm": "rms_norm_across_heads"}),
    (2048, {"interpolation_scale": 1, "sample_size": 64}),
])
def test_memory_of_the_published_size(page, side, values):
    """What the exporter expects, and no buffer beyond what every device binds; and the kernels of

    an empty text are those of any rehearsal.
    """
    config, manifest = published(112, **values)
    tokens = (side // 32) ** 2
    made = page.evaluate(REHEARSE, {
        "manifest": manifest, "length": 300, "channels": config.in_channels,
        "grid": {"height": side // 32, "width": side // 32}})
    want = sana.activation_bytes(config, Picture(side, side, 300, tokens, 300))
    got = made["bytes"]
    print(f"{side}: {got:,} bytes, expected {want:,}, {want / got - 1:+.1%}")
    assert abs(want / got - 1) <= 0.03
    assert {"add_row", "attention", "depthwise", "linear_attention_apply"} <= {*made["kernels"]}


def op(page, calls, cost=None, **tensors):
    made = page.evaluate(OPS, {"tensors": {name: given(x) for name, x in tensors.items()},
                               "calls": calls, "cost": cost})
    assert "data" in made, made
    return array_of(made)


def test_linear_attention_of_strips_in_several_dispatches(page):
    """600 tokens side by side with their keys and values, in strips of 300, a slice a dispatch."""
    rows = normal(1, 600, 2 * 3 * 16)
    heads = "{ headWidth: 16, step: 48, at: [0, 16, 32] }"
    calls = [f"ops.linearAttention(named.all, named.all, named.all, {heads})",
             "ops.linearAttentionOf(named.all, ops.linearAttentionSums("
             f"[[named.top, named.top], [named.bottom, named.bottom]], {heads}), {heads})"]
    q, k, v = np.moveaxis(rows.reshape(600, 2, 3, 16), 2, 0)
    want = oracles.linear_attention(q, k, v).reshape(600, 32)
    for call, cost in ((calls[0], 1), (calls[1], None)):
        got = op(page, call, cost, all=rows, top=rows[:300], bottom=rows[300:])
        assert_close("linear_attention", call, got, want)


@pytest.mark.parametrize("height, strip_bytes", [(5, 1 << 20), (18, 6 * 5 * 64 * 4), (17, 0)])
def test_a_gated_mlp_in_strips(page, height, strip_bytes):
    """Four rows at a time and in one piece, into what is there already; the last strip is short."""
    width, d, f = 5, 16, 32
    x, y = normal(1, height * width, d), normal(2, height * width, d)
    wide, wide_bias = normal(3, 2 * f, d, scale=0.3), normal(4, 2 * f)
    taps, taps_bias, point = normal(5, 3, 3, 2 * f), normal(6, 2 * f), normal(7, d, f)
    got = op(page, f"""ops.glumbConv(named.x, {{ height: {height}, width: {width},
      inverted: [weight(named.wide, [{2 * f}, {d}]), named.wide_bias],
      depth: [weight(named.taps, [3, 3, {2 * f}]), named.taps_bias],
      point: weight(named.point, [{d}, {f}]), stripBytes: {strip_bytes} }},
      {{ into: named.y, add: true }})""", cost=strip_bytes or 1, x=x, y=y, wide=wide,
             wide_bias=wide_bias, taps=taps, taps_bias=taps_bias, point=point)
    middle = oracles.linear_dense(x, wide, bias=wide_bias, act=1).reshape(height, width, 2 * f)
    gated = oracles.depthwise(middle, taps, taps_bias, gated=True).reshape(-1, f)
    assert relative_error(got, y + gated @ point.T.astype(float)) <= 1e-6


@pytest.mark.parametrize("calls, words", [
    ("ops.linearAttention(named.x, named.x, named.x, { headWidth: 6 })", "4 heads of 6"),
    ("ops.linearAttention(named.x, named.x, named.x, { headWidth: 8, at: [0, 0, 20] })", "inside"),
    ("ops.depthwise(named.x.reshape(2, 5, 24), weight(named.w, [3, 3, 20]))", "expected [3,3,24]"),
    ("ops.addRow(named.x, named.w)", "expected [24]"),
])
def test_what_does_not_fit_is_refused(page, calls, words):
    made = page.evaluate(OPS, {"calls": calls, "tensors": {"x": given(normal(1, 10, 24)),
                                                           "w": given(normal(2, 180))}})
    assert made["name"] == "ShapeError" and words in made["message"]


def test_every_kernel_knows_its_answer(page):
    assert page.evaluate(CHECK, CHECKED) == ""
