"""The engine in a page of the library, without a model: `opened`, its ops and its self-check, and

other ops that compute nothing.
"""

OPEN = """
async () => {
  const load = (file) => import(new URL(`engine/${file}.js`, library.code));
  const { openDevice, watchDevice } = await load('device');
  const { Kernels } = await load('kernels');
  const { Allocator } = await load('memory');
  const { Ops } = await load('ops');
  const { KERNELS, findWrong } = await load('selfcheck');
  const { fetchText } = await import(new URL('loader/fetching.js', library.code));
  const { device } = await openDevice();
  const kernels = new Kernels(device, new URL('wgsl/', library.code), fetchText);
  await kernels.load(KERNELS);
  const ops = new Ops({ device, kernels, watch: watchDevice(device),
    allocator: new Allocator(device, 2 ** 27) });
  const rehearsal = (choice) => new Ops({ device: null, kernels, choice,
    allocator: new Allocator(null, 2 ** 27) });
  globalThis.opened = { ops, findWrong, rehearsal };
}
"""
