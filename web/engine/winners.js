/**
 * Which kernels won on this device before, and whether the fast ones went wrong: a small file in
 * the browser's private file system.
 */

const FILE = 'trefoil-kernels.json';

/** Stands among the winners: the browser in which one of them went wrong while drawing. */
const DISTRUST = 'went wrong in';

/**
 * @param {string} key adapter, engine and precision: what the winners hold for
 * @returns {Promise<{ get: (op: string) => string | undefined,
 *   set: (op: string, label: string) => void, save: () => Promise<void>,
 *   distrusted: boolean, distrust: () => Promise<void> }>} distrusted: they went wrong, in this
 *   very version of the browser; where files are refused, nothing is remembered
 */
export async function openWinners(key) {
  const file = await openFile();
  const all = await readAll(file);
  const own = all[key] ?? {};
  let changed = false;
  async function save() {
    if (!changed || !file?.createWritable) return;
    try {
      const stream = await file.createWritable();
      await stream.write(JSON.stringify({ ...all, [key]: own }));
      await stream.close();
    } catch { /* full or refused: the race is run again next time */ }
  }
  const set = (op, label) => {
    own[op] = label;
    changed = true;
  };
  return {
    get: (op) => own[op], set, save,
    get distrusted() {
      return own[DISTRUST] === navigator.userAgent;
    },
    async distrust() {
      set(DISTRUST, navigator.userAgent);
      await save();
    },
  };
}

async function openFile() {
  try {
    const root = await navigator.storage.getDirectory();
    return await root.getFileHandle(FILE, { create: true });
  } catch {
    return null;
  }
}

async function readAll(file) {
  try {
    return JSON.parse(await (await file.getFile()).text());
  } catch {
    return {};
  }
}
