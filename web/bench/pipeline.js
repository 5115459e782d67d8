/** Times whole pictures, by stage, as a visitor gets them. */
import { loadPipeline } from '../trefoil.js';
import { summary } from './measure.js';

/** Pictures that take as long are drawn fewer times. */
const SLOW_MS = 2000;
const SLOW_SAMPLES = 3;

const PROMPT = 'a red maple bonsai in a round blue pot';

/**
 * @param {string} manifestUrl
 * @param {{ precision: string, samples: number, signal?: AbortSignal }} options
 * @returns {Promise<object>} { precision, kernels, model, width, height, steps, peakBytes, loadMs,
 *   lines }, a line being { name, timing }
 */
export async function timePipeline(manifestUrl, { precision, samples, signal }) {
  const started = performance.now();
  const pipe = await loadPipeline(manifestUrl, { precision, signal });
  const loadMs = performance.now() - started;
  try {
    const { pipeline: { prompts: [prompt = PROMPT] = [] }, kernels, name } = pipe.info;
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
    return { precision, kernels, model: name, width, height, steps: stepMs.length, loadMs,
      peakBytes: Math.max(...pictures.map(({ peakBytes }) => peakBytes)),
      lines: Object.entries(stages).map(([stage, times]) => (
        { name: stage, timing: { ...summary(times), runs: 1 } })) };
  } finally {
    pipe.destroy();
  }
}
