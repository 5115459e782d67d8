"""A text encoder alone in a page of the engine (opened_engine.py): its rows, what they cost."""

from export.site.code import write_code
from tests.browser.library import array_of
from tests.one_part import write_part

SETUP = """
async ({ url, component, file }) => {
  const load = (path) => import(new URL(path, library.code));
  const { Stages } = await load('engine/stages.js');
  const { referenceOf } = await load('engine/candidates.js');
  const { TensorFiles } = await load('loader/tensors.js');
  const { encode, LAYERS, PRECISION } = await load(`models/text_encoders/${file}.js`);

  const open = async (g, name, budget) => {
    const base = new URL(`${name}/`, url);
    const manifest = await (await fetch(new URL('manifest.json', base))).json();
    const shards = await Promise.all(manifest.shards.map(async (shard) => (
      (await fetch(new URL(shard.file, base))).arrayBuffer())));
    const read = async (index, at, bytes) => new Uint8Array(shards[index], at, bytes);
    const { components } = manifest;
    const stages = new Stages(g, new TensorFiles(manifest, { read }),
      { components, budget, memory: 'auto' });
    const { config } = components[component];
    const asked = { layers: LAYERS, ...(PRECISION && { precision: PRECISION }) };
    const rows = (text, signal) => stages.use(component, asked, (weights) => (
      encode(g, weights, config, { ...text, ids: Int32Array.from(text.ids) }, { signal })));
    return { stages, rows };
  };

  const stored = async (g, { rows: [rows], shape }) => {
    const data = library.encode(new Float32Array(await g.read(rows)));
    g.release(rows);
    return { shape, type: 'Float32Array', data };
  };

  globalThis.encodeAll = async ({ name, texts, budget }) => {
    const { ops: g } = opened;
    const { stages, rows } = await open(g, name, budget);
    const { dispatch } = g;
    let cost = 0;
    g.dispatch = (kernel, call) => {
      cost += call.cost;
      dispatch.call(g, kernel, call);
    };
    const made = [];
    for (const text of texts) {
      if (!text) {
        stages.free();
        continue;
      }
      cost = 0;
      g.allocator.resetPeak();
      const rest = await stored(g, await rows(text));
      made.push({ ...rest, cost, peakBytes: g.allocator.peakBytes });
    }
    stages.free();
    g.reset();
    delete g.dispatch;
    return { made, leaked: g.allocator.liveBytes };
  };

  globalThis.encodeAfterCancel = async ({ name, text, budget }) => {
    const { ops: g } = opened;
    const { stages, rows } = await open(g, name, budget);
    const stop = new AbortController();
    const { read } = g;
    g.read = (...call) => {
      stop.abort();
      return read.apply(g, call);
    };
    const told = await rows(text, stop.signal).catch(({ name: error }) => error);
    g.read = read;
    g.reset();
    const made = await stored(g, await rows(text));
    stages.free();
    g.reset();
    return { told, made, leaked: g.allocator.liveBytes };
  };

  globalThis.rehearse = async ({ name, text, budget }) => {
    const asked = new Set();
    const g = opened.rehearsal({ pick: (op, constants) => {
      asked.add(op);
      return referenceOf(op, constants);
    } });
    const { rows } = await open(g, name, budget);
    await rows({ ...text, ids: text.ids.map(() => 0) });
    return { peakBytes: g.allocator.peakBytes, asked: [...asked] };
  };
}
"""
ROOMY = 2**30


def write_encoders(tmp_path_factory, part, models, shapes):
    """A site's code, and beside it what is packed of each model, by name.

    models: name -> transformers' model; shapes: name -> (configuration, --text-encoder-bits).
    """
    dist = tmp_path_factory.mktemp("dist")
    write_code(dist)
    for name, (_, bits) in shapes.items():
        source = tmp_path_factory.mktemp(name)
        models[name].save_pretrained(source / part.folder)
        write_part(part, source, dist / name, bits)
    return dist


class Encoding:
    """The encoder of a Part, in web/models/text_encoders/FILE.js, in an opened engine's page.

    A text has ids and valid, and what else the encoder takes.
    """

    def __init__(self, page, url, part, file):
        self.page = page
        page.evaluate(SETUP, {"url": url, "component": part.name, "file": file})

    def __call__(self, name, *texts, budget=ROOMY):
        """What each text came to, one after another: rows, cost, peakBytes; None: forget."""
        done = self.run("encodeAll", name, budget, texts=texts)
        assert done["leaked"] == 0
        return [one | {"rows": array_of(one)} for one in done["made"]]

    def after_cancel(self, name, text):
        """(what a run said that was cancelled at its first answer of the GPU, then rows)."""
        done = self.run("encodeAfterCancel", name, ROOMY, text=text)
        assert done["leaked"] == 0
        return done["told"], array_of(done["made"])

    def rehearse(self, name, text, budget):
        """peakBytes of a text of as many ids, and the ops that are asked for."""
        return self.run("rehearse", name, budget, text=text)

    def run(self, script, name, budget, **call):
        return self.page.evaluate(f"(call) => {script}(call)",
                                  {"name": name, "budget": budget} | call)
