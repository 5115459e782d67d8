"""A family's denoiser alone in a page of the engine (opened_engine.py): its velocities, its memory.

A call has: denoiser (file of web/models/denoisers/, class), manifest and url of its shards,
contexts (what the encoders made, an array each, of each text), grid, times, guidanceScale, memory.
"""

import base64

import numpy as np

from tests.browser.library import array_of

DENOISE = """
const load = (path) => import(new URL(path, library.code));
const [{ GpuExecutor }, { openStages }, { TensorFiles }, { [call.denoiser[1]]: Denoiser }] =
  await Promise.all(['engine/executor.js', 'api/rehearsals.js', 'loader/tensors.js',
    `models/denoisers/${call.denoiser[0]}.js`].map(load));
const shards = new Map();
const read = async (index, offset, count) => {
  const file = new URL(call.manifest.shards[index].file, call.url);
  if (!shards.has(index)) shards.set(index, (await fetch(file)).arrayBuffer());
  return new Uint8Array(await shards.get(index), offset, count);
};
const denoise = async (g, observe, work) => {
  const { manifest, contexts, grid, times, guidanceScale, memory } = call;
  const files = new TensorFiles(manifest, { read });
  const stages = openStages(g, files, manifest, { budget: 0, memory });
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const put = ({ data, shape }) => g.upload(new Float32Array(bytes(data)), shape, 'input');
  const encoded = contexts.map((text) => text.map(
    (one) => ({ rows: [put(one)], shape: one.shape })));
  const x = put(call.latents);
  const executor = new GpuExecutor({ g, stages, files, manifest }, { Denoiser });
  await executor.denoise({ contexts: encoded, grid, times, guidanceScale }, { observe },
    (velocityOf) => work((step, text) => velocityOf(x, step, text)));
  g.release(x);
  stages.free();
  g.reset();
};
"""
RUN = f"""
async (call) => {{
  {DENOISE}
  const {{ ops }} = opened;
  const seen = {{}};
  const keep = async (name, tensor) => {{
    const values = new Uint8Array(await ops.read(tensor));
    seen[name] = {{ shape: tensor.shape, type: 'Float32Array', data: library.encode(values) }};
  }};
  await denoise(ops, (name, shape, tensor) => keep(name, tensor), async (velocityOf) => {{
    for (const step of call.steps) {{
      for (const text of call.contexts.keys()) {{
        const velocity = await velocityOf(step, text);
        await keep(`velocity.${{step}}.${{text}}`, velocity);
        ops.release(velocity);
      }}
    }}
  }});
  return {{ seen, shards: [...shards.keys()], left: ops.allocator.liveBytes }};
}}
"""
PEAKS = f"""
async (call) => {{
  {DENOISE}
  const peak = async (g, steps) => {{
    g.reset();
    g.allocator.resetPeak();
    await denoise(g, () => {{}}, async (velocityOf) => {{
      for (const step of steps) {{
        g.release(await velocityOf(step, 0));
        await g.drain();
      }}
    }});
    return g.allocator.peakBytes;
  }};
  return [await peak(opened.rehearsal(), [0]), await peak(opened.ops, call.times.keys())];
}}
"""


def given(array):
    data = np.ascontiguousarray(array, np.float32)
    return {"data": base64.b64encode(data.tobytes()).decode(), "shape": data.shape}


def call_of(*, latents, contexts, grid, **call):
    """A call as the scripts take it: arrays are f32, grid is (height, width)."""
    return {"guidanceScale": 1, "memory": "auto", "latents": given(latents),
            "contexts": [[given(array) for array in text] for text in contexts],
            "grid": dict(zip(("height", "width"), grid, strict=True))} | call


def velocities(page, *, steps, **call):
    """(name -> array of `velocity.STEP.TEXT` and of every block, what else there is to tell)."""
    done = page.evaluate(RUN, call_of(**call) | {"steps": steps})
    return {name: array_of(one) for name, one in done["seen"].items()}, done


def peaks(page, **call):
    """(bytes that one rehearsed step takes, bytes that all steps of the picture take)."""
    return tuple(page.evaluate(PEAKS, call_of(**call)))
