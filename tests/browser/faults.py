"""Devices that go wrong: scripts that wrap WebGPU, of a page or, by `wrap_worker`, its worker.

Each does no harm until `globalThis.faulty` is true, where it says so; of several in one page, that
may name the one that does: 'dispatches' of DROPPING, the kernel of TWINS, the word of READS.
"""

import json
import re

from playwright.sync_api import Error

from tests.conftest import LAST_RESORT_MS

# Every 50th dispatch is dropped.
DROPPING = """
() => {
  let count = 0;
  const dispatch = GPUComputePassEncoder.prototype.dispatchWorkgroups;
  GPUComputePassEncoder.prototype.dispatchWorkgroups = function (...grid) {
    const drops = [true, 'dispatches'].includes(globalThis.faulty) && ++count % 50 === 0;
    if (!drops) dispatch.apply(this, grid);
  };
}
"""

# Pipelines of a kernel get a twin whose text is changed, which takes their place once faulty.
TWINS = """
([kernel, right, wrong]) => {
  const codes = new WeakMap();
  const twins = new WeakMap();
  const wrap = (of, name, make) => { of.prototype[name] = make(of.prototype[name]); };
  wrap(GPUDevice, 'createShaderModule', (create) => function (descriptor) {
    const module = create.call(this, descriptor);
    codes.set(module, descriptor.code);
    return module;
  });
  wrap(GPUDevice, 'createComputePipelineAsync', (create) => async function (descriptor) {
    const pipeline = await create.call(this, descriptor);
    if (descriptor.label.split(' ')[0] !== kernel) return pipeline;
    const code = codes.get(descriptor.compute.module).replace(right, wrong);
    if (code === codes.get(descriptor.compute.module)) throw new Error(`no ${right} in ${kernel}`);
    const module = this.createShaderModule({ code });
    twins.set(pipeline, await create.call(this,
      { ...descriptor, compute: { ...descriptor.compute, module } }));
    return pipeline;
  });
  const chosen = (pipeline) => (
    [true, kernel].includes(globalThis.faulty) && twins.get(pipeline) || pipeline);
  wrap(GPUComputePipeline, 'getBindGroupLayout', (layout) => function (index) {
    return layout.call(chosen(this), index);
  });
  wrap(GPUComputePassEncoder, 'setPipeline', (choose) => function (pipeline) {
    return choose.call(this, chosen(pipeline));
  });
}
"""

# What is read back is filled with one 32-bit word: NaN, or a pixel.
READS = """
(word) => {
  const read = GPUBuffer.prototype.getMappedRange;
  GPUBuffer.prototype.getMappedRange = function (...range) {
    const bytes = read.apply(this, range);
    if ([true, word].includes(globalThis.faulty)) new Uint32Array(bytes).fill(word);
    return bytes;
  };
}
"""
NAN = 0x7FC00000

# A call that throws, rejects or never answers: [object, method, 'throw' | 'reject' | 'silent'].
# Of one that never answers, whoever is patient for LAST_RESORT_MS is told at once. heal() ends it.
CALL = """
([owner, method, how]) => {
  const { heal, setTimeout: wait } = globalThis;
  const { prototype } = globalThis[owner];
  const right = prototype[method];
  globalThis.heal = () => {
    prototype[method] = right;
    Object.assign(globalThis, { heal, setTimeout: wait, called: 0 });
  };
  globalThis.setTimeout = (act, ms, ...rest) => (
    wait(act, how === 'silent' && globalThis.called && ms === PATIENCE ? 0 : ms, ...rest));
  prototype[method] = function () {
    globalThis.called = (globalThis.called ?? 0) + 1;
    if (how === 'throw') throw new TypeError(`${method} is broken`);
    if (how === 'reject') return Promise.reject(new DOMException(`${method} refused`,
      'OperationError'));
    return new Promise(() => {});
  };
}
""".replace("PATIENCE", str(LAST_RESORT_MS))

# A software adapter that is taken for a GPU.
AS_A_GPU = """
() => {
  Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });
  Object.defineProperty(GPUAdapterInfo.prototype, 'architecture', { get: () => '' });
}
"""


def wrap_worker(context, script, argument=None):
    """Runs script(argument) in every page and worker of the context, before their own scripts.

    A worker's first import is of the script, whatever it begins with.
    """
    run = f"({script})({json.dumps(argument)});"
    context.add_init_script(run)
    context.route("**/wrapped.js", lambda route: route.fulfill(
        body=run, content_type="text/javascript"))

    alter(context, "**/studio/worker.js", "", "import './wrapped.js';\n")


def alter(where, pattern, right, wrong):
    """What a page or context receives for a pattern of addresses: `wrong` in the place of `right`.

    A page that is closed meanwhile gets no answer, and nobody is told of that.
    """
    def answer(route):
        try:
            response = route.fetch()
            text = response.text()
            route.fulfill(body=text.replace(right, wrong, 1 if right == "" else -1),
                          content_type=response.headers["content-type"])
        except Error as error:
            if not re.search("closed|disposed", str(error)):
                raise
            return
        assert right in text, f"{route.request.url} does not hold {right}"

    where.route(pattern, answer)
