/** Times whole pictures, by stage, as a visitor gets them. */
import { summary } from './measure.js';
import { peakMemory, resetPeak } from './memory.js';

/** Pictures that take as long are drawn fewer times. */
const SLOW_MS = 2000;
const SLOW_SAMPLES = 3;

const PROMPT = 'a red maple bonsai in a round blue pot';

/**
 * peakBytes: of GPU memory, counted by the pipeline or, if it does not, by what the page allocated;
 * wasmBytes: of WebAssembly's, if it uses that; failed: why there is nothing but `by`.
 * @typedef {{ by: string, failed?: string, kernels?: object[], model?: string, width?: number,
 *   height?: number, steps?: number, peakBytes?: number, wasmBytes?: number, loadMs?: number,
 *   lines?: { name: string, timing: import('./measure.js').Timing }[] }} TimedPicture
 */

/**
 * @param {() => Promise<import('../api/pipeline.js').Pipeline>} open
 * @param {{ by: string, samples: number, signal?: AbortSignal }} options by: what draws
 * @returns {Promise<TimedPicture>}
 */
export async function timePipeline(open, { by, samples, signal }) {
  const started = performance.now();
  resetPeak();
  const pipe = await open();
  const loadMs = performance.now() - started;
  try {
    const { pipeline: { prompts: [prompt = PROMPT] = [] }, kernels, name, engine } = pipe.info;
    const draw = () => pipe.generate({ prompt, seed: 7 }, { signal });
    const pictures = [];
    if (samples > 1) await draw(); // the first one compiles and uploads
    for (let wanted = samples; pictures.length < wanted;) {
      pictures.push(await draw());
      const { totalMs } = pictures.at(-1).timings;
      if (totalMs > SLOW_MS) wanted = Math.min(wanted, SLOW_SAMPLES);
    }
    const [{ width, height, timings: { stepMs } }] = pictures;
    const stages = {
      encode: pictures.map(({ timings }) => timings.encodeMs),
      step: pictures.flatMap(({ timings }) => timings.stepMs),
      decode: pictures.map(({ timings }) => timings.decodeMs),
      picture: pictures.map(({ timings }) => timings.totalMs),
    };
    const { gpuBytes, wasmBytes } = peakMemory();
    const apart = engine === 'webgpu' ? { wasmBytes: 0,
      peakBytes: Math.max(...pictures.map(({ peakBytes }) => peakBytes)) }
      : { wasmBytes, peakBytes: gpuBytes };
    return { by, kernels, model: name, width, height, steps: stepMs.length, loadMs, ...apart,
      lines: Object.entries(stages).map(([stage, times]) => (
        { name: stage, timing: { ...summary(times), runs: 1 } })) };
  } finally {
    pipe.destroy();
  }
}
