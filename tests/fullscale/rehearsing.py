"""Rehearsals of pictures in a page, with the repository's own code and without any weights."""

from export.packing.memory import MEMORY_BUDGET
from tests.browser.library import EMPTY
from tests.fullscale.flux2 import ROOT
from tests.hosting import Host

BINDING = 128 << 20  # what every device binds
SETUP = """
async (url) => {
  const load = (path) => import(new URL(`web/${path}`, url));
  const { Allocator } = await load('engine/memory.js');
  const { Kernels } = await load('engine/kernels.js');
  const { KERNELS } = await load('engine/selfcheck.js');
  const { Ops } = await load('engine/ops.js');
  const { fetchText } = await load('loader/fetching.js');
  const { ownPicture, rehearsing } = await load('api/rehearsals.js');
  const { draw } = await load('models/draw.js');
  const { familyOf } = await load('models/families.js');
  const kernels = new Kernels(null, new URL('wgsl/', url), fetchText);
  await kernels.load(KERNELS);
  const nothing = { onProgress: () => {}, observe: () => {} };

  /** Counts what is recorded, in `work`: every op in one piece, whatever the device. */
  class Counting extends Ops {
    work = { flop: 0, bytes: 0 };

    get dispatchCost() {
      return Infinity;
    }

    dispatch(name, call) {
      this.#count(call.cost ?? 0, call.tensors);
      super.dispatch(name, call);
    }

    copy(source, target) {
      this.#count(0, [source, target]);
      super.copy(source, target);
    }

    #count(flop, tensors) {
      this.work.flop += flop;
      this.work.bytes += tensors.reduce((sum, { bytes }) => sum + bytes, 0);
    }
  }

  const open = (Kind, { manifest, budget, memory, ...asked }) => {
    const ops = new Kind({ device: null, kernels, allocator: new Allocator(null, asked.limit) });
    const family = familyOf(manifest);
    const executor = rehearsing(ops, manifest, family, { budget, memory });
    const { width, height, steps } = asked;
    const own = ownPicture(manifest);
    const drawing = { ...own, width, height, steps: steps ?? own.steps };
    return { ops, executor, drawing,
      run: (hooks) => draw(executor, family, manifest, drawing, hooks) };
  };

  globalThis.rehearse = async (asked) => {
    const { ops, run } = open(Ops, asked);
    const { stageBytes } = await run(nothing);
    return { peakBytes: ops.allocator.peakBytes, stageBytes };
  };

  globalThis.countWork = async (asked) => {
    const { ops, executor, drawing, run } = open(Counting, asked);
    const stages = {};
    const begin = (stage) => { ops.work = stages[stage] = { flop: 0, bytes: 0 }; };
    const denoise = executor.denoise.bind(executor);
    executor.denoise = (conditions, hooks, work) => denoise(conditions, hooks, async (velocity) => {
      begin('first');
      await work(velocity);
      begin('later'); // as the first, but that of the text there is more to be had
      await work(velocity);
    });
    begin('encode');
    await run({ onProgress: ({ stage }) => stage === 'decode' && begin('decode'),
      observe: (name) => { if (name === 'noise') begin('prepare'); } });
    const { encode, prepare, first, later, decode } = stages;
    const sum = (kind) => prepare[kind] + first[kind] + (drawing.steps - 1) * later[kind];
    return { steps: drawing.steps, stages: { encode, step: later, decode,
      denoise: { flop: sum('flop'), bytes: sum('bytes') } } };
  };
}
"""


class Rehearsals:
    """`browser` may be one without an adapter."""

    def __init__(self, browser):
        self.host = Host(ROOT)
        self.page = browser.new_page()
        self.page.route(f"{self.host.url}empty.html", lambda route: route.fulfill(
            body=EMPTY, content_type="text/html"))
        self.page.goto(f"{self.host.url}empty.html")
        self.page.evaluate(SETUP, self.host.url)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.page.close()
        self.host.__exit__()

    def plan(self, manifest, width, height, memory="auto"):
        """{peakBytes, stageBytes: {encode, denoise, decode}} of a picture, as pipe.plan() counts.
        """
        return self.ask("rehearse", manifest, width, height, memory=memory)

    def work(self, manifest, width, height, steps=None):
        """{steps, stages: {encode, step, denoise, decode: {flop, bytes}}}.

        flop: floating-point operations, as the ops tell their cost; bytes: of the tensors that
        kernels read or write, each counted once a dispatch.
        """
        return self.ask("countWork", manifest, width, height, steps=steps, memory="auto")

    def ask(self, name, manifest, width, height, **options):
        asked = {"manifest": manifest, "width": width, "height": height, "budget": MEMORY_BUDGET,
                 "limit": BINDING}
        given = {key: value for key, value in options.items() if value is not None}
        return self.page.evaluate(f"(asked) => {name}(asked)", asked | given)
