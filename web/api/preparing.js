/** Before a model draws: its kernels are compiled, chosen and checked on the device. */
import { UnsupportedError, throwIfAborted } from '../engine/errors.js';
import { KERNELS, findWrong } from '../engine/selfcheck.js';
import { openWinners } from '../engine/winners.js';

/**
 * Compiles the kernels that a model uses, chooses among those that could, and lets each compute a
 * known answer. Where the chosen ones go wrong, those that need least take their place.
 * @param {object} parts
 * @param {import('../engine/kernels.js').Kernels} parts.kernels
 * @param {import('../engine/choice.js').Choice} parts.choice
 * @param {import('../engine/ops.js').Ops} parts.ops with both of them
 * @param {string[]} parts.names of the device and the precision: what is remembered holds for them
 * @param {() => Promise<Map<string, [string, object]>>} parts.rehearse anew, with the kernels that
 *   are chosen by now: all variants that any picture needs
 * @param {{ signal?: AbortSignal, tell: (progress: object) => void,
 *   onWait?: import('../loader/fetching.js').OnWait }} job tell:
 *   how far it is; onWait: what fetching the kernels waits for, see loader/fetching.js
 * @returns {Promise<object>} what is remembered of the kernels here, see winners.js
 * @throws {UnsupportedError | DeviceError | DOMException} the last one named AbortError
 */
export async function prepareKernels({ kernels, choice, ops, names, rehearse }, job) {
  await kernels.load(KERNELS, job);
  throwIfAborted(job.signal);
  const winners = await openWinners([...names, await kernels.fingerprint()].join(' | '));
  if (winners.distrusted && !choice.safe) choice.useReferences('another went wrong here before');
  const parts = { kernels, choice, ops, winners, rehearse };
  try {
    await chooseAndCheck(parts, job);
  } catch (error) {
    if (!(error instanceof UnsupportedError) || choice.safe) throw error;
    ops.reset();
    choice.useReferences(`another was wrong at load: ${error.message}`);
    await chooseAndCheck(parts, job);
  }
  return winners;
}

async function chooseAndCheck({ kernels, choice, ops, winners, rehearse }, job) {
  const { signal, tell } = job;
  const { size: likely } = await rehearse();
  kernels.onCompile = ({ done, asked }) => (
    tell({ phase: 'prepare', kernel: done, kernels: Math.max(likely, asked) }));
  await choice.decide(ops, winners, { signal });
  await winners.save();
  const wrong = await findWrong(ops, (await rehearse()).values(), { signal });
  kernels.onCompile = () => {};
  if (wrong) {
    throw new UnsupportedError(`${wrong} Update the graphics driver or the browser, or use `
      + 'another one.');
  }
}
