/** Memory that code which does not tell takes: GPU buffers, and WebAssembly's memories. */

const wasm = [];
let live = 0;
let peak = 0;

/** Watches what is made from now on; once, before onnxruntime-web is imported. */
export function watchMemory() {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor) {
      super(descriptor);
      wasm.push(this);
    }
  };
  watchBuffers();
}

function watchBuffers() {
  const { createBuffer } = GPUDevice.prototype;
  const { destroy } = GPUBuffer.prototype;
  const sizes = new WeakMap();
  GPUDevice.prototype.createBuffer = function counted(descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    sizes.set(buffer, descriptor.size);
    live += descriptor.size;
    peak = Math.max(peak, live);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function counted() {
    live -= sizes.get(this) ?? 0;
    sizes.delete(this);
    return destroy.call(this);
  };
}

/** The peak begins anew at what is there now. */
export function resetPeak() {
  peak = live;
}

/** @returns {{ gpuBytes: number, wasmBytes: number }} at most; WebAssembly's never shrinks */
export function peakMemory() {
  return { gpuBytes: peak, wasmBytes: wasm.reduce((sum, { buffer }) => sum + buffer.byteLength, 0) };
}
