"""Drives trefoil.js in a page or worker of its own: one pipeline, pictures, stages' tensors."""

import base64

import numpy as np

from tests.conftest import LAST_RESORT_MS

SETUP = """
async (url) => {
  const trefoil = await import(new URL('trefoil.js', url));
  const entry = await (await fetch(new URL('trefoil.js', url))).text();
  const [folder] = entry.match(/code-[0-9a-f]{16}/) ?? ['.']; // web/ itself has none
  const code = new URL(`${folder}/`, url);
  const encode = ({ buffer, byteOffset, byteLength }) =>
    new Uint8Array(buffer, byteOffset, byteLength).toBase64();
  const withPixels = ({ images, ...request }) => ({ ...request, images: images?.map((image) => (
    { ...image, rgba: new Uint8ClampedArray(Uint8Array.fromBase64(image.rgba)) })) });
  const outcome = async (work) => {
    try {
      return { value: await work() };
    } catch (error) {
      return { error: { name: error.name, message: error.message } };
    }
  };
  let pipe;
  globalThis.library = {
    trefoil,
    code,
    encode,
    load: (manifest, options) => outcome(async () => {
      pipe?.destroy();
      pipe = await trefoil.loadPipeline(new URL(manifest, url), options);
      return pipe.info;
    }),
    get pipe() { return pipe; },
    plan: (request) => outcome(() => pipe.plan(request)),
    extraBytes: (request) => outcome(() => pipe.extraBytes(request)),
    generate: (request, asked = {}) => outcome(async () => {
      const { tensors = false, previews = false, blocks, cancelAt } = asked;
      const seen = {};
      const progress = [];
      const abort = new AbortController();
      library.progress = progress;
      const onProgress = (event) => {
        progress.push({ ...event, afterAbort: abort.signal.aborted });
        if (event.stage === cancelAt?.stage && event.step >= cancelAt.step) abort.abort();
      };
      const onTensor = (name, { shape, data }) => {
        console.debug(name);
        seen[name] = { shape: [...shape], type: data.constructor.name, data: encode(data) };
      };
      const previewed = [];
      const onPreview = ({ rgba, ...rest }) => previewed.push({ ...rest, rgba: encode(rgba) });
      const hooks = { signal: abort.signal, onProgress, ...(tensors && { onTensor, blocks }),
        ...(previews && { onPreview }) };
      const { rgba, ...rest } = await pipe.generate(withPixels(request), hooks);
      return { ...rest, rgba: encode(rgba), seen, progress, previews: previewed };
    }),
  };
}
"""
# SwiftShader keeps nothing of what it compiled, which is most of a load: what a page has compiled
# once it has from here on, on a device that outlives its pipelines.
KEEP_KERNELS = """
{
  const { requestDevice } = GPUAdapter.prototype;
  const { createShaderModule, createComputePipelineAsync } = GPUDevice.prototype;
  const codes = new WeakMap();
  const pipelines = new Map();
  let device = null;
  GPUAdapter.prototype.requestDevice = function (asked) {
    device ??= requestDevice.call(this, asked);
    return device;
  };
  GPUDevice.prototype.destroy = () => {};
  GPUDevice.prototype.createShaderModule = function (about) {
    const module = createShaderModule.call(this, about);
    codes.set(module, about.code);
    return module;
  };
  GPUDevice.prototype.createComputePipelineAsync = function (about) {
    const code = codes.get(about.compute.module);
    if (!pipelines.has(code)) {
      pipelines.set(code, createComputePipelineAsync.call(this, about));
    }
    return pipelines.get(code);
  };
}
"""
EMPTY = '<!doctype html><title>empty</title><link rel="icon" href="data:,">'
WORKER = """
() => {
  const blob = new Blob([], { type: 'text/javascript' });
  globalThis.worker = new Worker(URL.createObjectURL(blob), { type: 'module' });
}
"""
TYPES = {"Float32Array": "<f4", "Int32Array": "<i4"}


class LibraryError(Exception):
    """What the library rejected with: its name and message."""

    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class Library:
    """trefoil.js of the site at `url`, in a page of its own with nothing kept from before.

    `context` in place of a new one of the browser's is closed at the end, too; with `worker` the
    library runs in a dedicated worker of the page; with `keeps_kernels` what one pipeline has
    compiled serves those after it.
    """

    def __init__(self, browser, url, context=None, worker=False, keeps_kernels=False):
        self.url = url
        self.context = context or browser.new_context()
        self.page = self.context.new_page()
        if keeps_kernels:
            self.page.add_init_script(KEEP_KERNELS)
        self.complaints = []  # what the browser says of invalid WebGPU, among other things
        self.page.on("console", lambda message: message.type in ("error", "warning")
                     and self.complaints.append(message.text))
        # While there is a route, the browser's cache is off.
        self.page.route(url + "empty.html", lambda route: route.fulfill(
            body=EMPTY, content_type="text/html"))
        self.page.goto(url + "empty.html")
        self.worker = worker
        self.set_up()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.context.close()

    def set_up(self):
        """Of a page as it comes, or after a reload."""
        self.scope = self.start_worker() if self.worker else self.page
        self.scope.evaluate(SETUP, self.url)

    def start_worker(self):
        with self.page.expect_worker() as started:
            self.page.evaluate(WORKER)
        return started.value

    def limit(self, **milliseconds):
        """Shorter patience with the network, by the names of patience.js."""
        self.scope.evaluate("""async (limits) => {
          const { LIMITS } = await import(new URL('loader/patience.js', library.code));
          Object.assign(LIMITS, limits);
        }""", milliseconds)

    def load(self, manifest="model/manifest.json", **options):
        """Loads a pipeline in place of the last one; returns its info."""
        return self.call("([manifest, options]) => library.load(manifest, options)",
                         [manifest, {"patienceMs": LAST_RESORT_MS} | options])

    def plan(self, **request):
        return self.call("(request) => library.plan(request)", request)

    def extra_bytes(self, **request):
        return self.call("(request) => library.extraBytes(request)", request)

    def generate(self, tensors=False, blocks=False, previews=False, cancel_at=None, **request):
        """Draws. rgba is u8 [H, W, 4]; with tensors, `seen` maps names to arrays, with blocks
        also those after every block; `previews` holds one a step if asked for. images: u8
        [H, W, 3] each."""
        if "images" in request:
            request["images"] = [image_of(pixels) for pixels in request["images"]]
        hooks = {"tensors": tensors, "blocks": blocks, "previews": previews}
        hooks |= {"cancelAt": cancel_at} if cancel_at else {}
        drawn = self.call("([request, hooks]) => library.generate(request, hooks)",
                          [request, hooks])
        for picture in [drawn, *drawn["previews"]]:
            pixels = np.frombuffer(base64.b64decode(picture["rgba"]), np.uint8)
            picture["rgba"] = pixels.reshape(picture["height"], picture["width"], 4)
        drawn["seen"] = {name: array_of(tensor) for name, tensor in drawn["seen"].items()}
        return drawn

    def call(self, script, argument):
        outcome = self.scope.evaluate(script, argument)
        if "error" in outcome:
            raise LibraryError(**outcome["error"])
        return outcome["value"]


def image_of(pixels):
    """u8 [H, W, 3] as the page is given it, opaque."""
    rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    height, width, _ = pixels.shape
    return {"width": width, "height": height, "rgba": base64.b64encode(rgba.tobytes()).decode()}


def array_of(tensor):
    flat = np.frombuffer(base64.b64decode(tensor["data"]), TYPES[tensor["type"]])
    return flat.reshape(tensor["shape"])
