/** Time of things that run on a GPU: several by turns, so that what disturbs one disturbs all. */

/** Runs as long as this are sampled less often: rather an imprecise number than none. */
const SLOW_MS = 2000;
const SLOW_SAMPLES = 3;
const CRAWLING_MS = 8000;
const CRAWLING_SAMPLES = 2;

/** Runs of one sample, at most. */
const MOST_RUNS = 2000;

/**
 * @typedef {object} Runner
 * @property {string} name
 * @property {(runs: number) => Promise<void>} run starts so many runs and waits once
 */

/**
 * @typedef {object} Timing per run
 * @property {number} medianMs
 * @property {number} leastMs
 * @property {number} mostMs
 * @property {number} samples
 * @property {number} runs of each sample
 */

/**
 * @param {Runner[]} runners
 * @param {{ samples: number, sampleMs: number, signal?: AbortSignal }} options sampleMs: how long a
 *   sample takes at least
 * @returns {Promise<{ timing?: Timing, failed?: string }[]>} in the runners' order
 */
export async function measure(runners, { samples, sampleMs, signal }) {
  const states = [];
  for (const runner of runners) states.push(await prepare(runner, { samples, sampleMs, signal }));
  for (let i = 0; i < samples; i++) {
    for (const state of states) {
      if (state.failed || state.times.length >= state.samples) continue;
      await attempt(state, async () => {
        signal?.throwIfAborted();
        state.times.push(await time(state.runner, state.runs) / state.runs);
      });
    }
  }
  return states.map(({ failed, times, runs }) => (failed ? { failed }
    : { timing: { ...summary(times), runs } }));
}

/** Median and spread of milliseconds. */
export function summary(times) {
  const sorted = [...times].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const medianMs = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { medianMs, leastMs: sorted[0], mostMs: sorted.at(-1), samples: sorted.length };
}

/**
 * Warms up, and finds how many runs make a sample. The first run compiles and tells nothing; the
 * one that was long enough is a sample already.
 */
async function prepare(runner, { samples, sampleMs, signal }) {
  const state = { runner, runs: 1, times: [], samples, failed: '' };
  await attempt(state, async () => {
    signal?.throwIfAborted();
    await time(runner, 1);
    for (let tries = 0; tries < 4; tries++) {
      signal?.throwIfAborted();
      const elapsed = await time(runner, state.runs);
      if (elapsed > SLOW_MS) {
        state.samples = Math.min(samples, elapsed > CRAWLING_MS ? CRAWLING_SAMPLES : SLOW_SAMPLES);
      }
      if (elapsed >= sampleMs || state.runs >= MOST_RUNS) {
        state.times.push(elapsed / state.runs);
        return;
      }
      const wanted = Math.ceil(1.2 * state.runs * sampleMs / Math.max(elapsed, 0.1));
      state.runs = Math.min(MOST_RUNS, 16 * state.runs, wanted);
    }
  });
  return state;
}

async function time(runner, runs) {
  const start = performance.now();
  await runner.run(runs);
  return performance.now() - start;
}

/** One that fails keeps the others going; an abort ends all. */
async function attempt(state, work) {
  try {
    await work();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    state.failed = error.message;
  }
}
