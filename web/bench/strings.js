/** Every sentence of the bench, and how it writes numbers. */
import { bytes } from '../studio/strings.js';

export { bytes };

export const SECTION_NAMES = {
  headline: 'Headline ops', pipeline: 'Pictures of this model', model: 'Ops of this model',
  bonsai: 'Ops of Bonsai Image 4B', sana: 'Ops of Sana 1.6B',
  flux1: 'Ops of encoders of FLUX.1',
};

export const say = {
  ready: 'Choose what to time, then press Run.',
  loading: 'Opening the GPU.',
  timing: (label, index, count) => `${index} of ${count}: ${label}`,
  done: (ms) => `Done in ${milliseconds(ms)}.`,
  stopped: 'Stopped. What was timed stays.',
  failed: (message) => `The bench stopped: ${message}`,
  copied: 'The results are copied.',
  notCopied: 'The browser did not allow it: select the text below and copy it yourself.',
  nothing: 'Nothing was chosen: tick what to time.',
  unknown: (names) => `No row is called ${names}. Rows are named by their id or their section.`,
  device: ({ vendor, architecture, description: told }, features) => `${[vendor, architecture, told]
    .filter(Boolean).join(' ')}; ${features.length ? features.join(', ') : 'no extra features'}`,
  software: 'This adapter is a CPU: it ranks kernels for no GPU, and the large rows take minutes.',
  calls: (count) => `${count}x a picture`,
  wrong: (size) => `wrong: ${size}`,
  few: (samples) => `${samples} samples only`,
  /** @param {import('./pipeline.js').TimedPicture} picture */
  peak: ({ peakBytes, wasmBytes }) => `at most ${bytes(peakBytes)} of GPU memory${
    wasmBytes ? `, ${bytes(wasmBytes)} of WebAssembly's` : ''}`,
  /** @param {import('./pipeline.js').TimedPicture} picture */
  pictures: ({ model, width, height, steps, by }) => (
    `${model}, ${width}x${height}, ${steps} steps, ${by}`),
};

/** @returns {string} "0.413 ms", "41.3 ms", "4.13 s" */
export function milliseconds(ms) {
  if (ms >= 1000) return `${(ms / 1000).toPrecision(3)} s`;
  return `${ms.toPrecision(3)} ms`;
}

/** @returns {string} "40.1 to 44.9 ms" */
export function spread({ leastMs, mostMs }) {
  const unit = mostMs >= 1000 ? 1000 : 1;
  const [least, most] = [leastMs, mostMs].map((ms) => (ms / unit).toPrecision(3));
  return `${least} to ${most} ${unit > 1 ? 's' : 'ms'}`;
}

export function rate(gflops) {
  return gflops >= 100 ? gflops.toFixed(0) : gflops.toPrecision(3);
}

export function share(part) {
  return `${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`;
}

export function error(value) {
  return value.toExponential(1);
}
