/** How the studio writes numbers. */

const KB = 1e3, MB = 1e6, GB = 1e9;

/** @returns {string} "842 kB", "5.6 MB", "43 MB", "2.7 GB" */
export function bytes(count) {
  const [unit, name] = count >= GB ? [GB, 'GB'] : count >= MB ? [MB, 'MB'] : [KB, 'kB'];
  const value = count / unit;
  return `${value.toFixed(value < 10 && unit > KB ? 1 : 0)} ${name}`;
}

/** @returns {string} "1.1 GFLOP", "450 GFLOP", "6.2 TFLOP" */
export function operations(flop) {
  const [unit, name] = flop >= 1e12 ? [1e12, 'TFLOP'] : [1e9, 'GFLOP'];
  const value = flop / unit;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${name}`;
}

/** @returns {string} "38 ms", "1.24 s", "15.2 s", "2 min 5 s" */
export function duration(ms) {
  if (ms < 100) return `${ms.toFixed(0)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** @returns {string} "40 s", "3 min": a guess deserves no more digits */
export function roughly(seconds) {
  if (seconds < 10) return `${Math.ceil(seconds)} s`;
  return seconds < 90 ? `${Math.ceil(seconds / 5) * 5} s` : `${Math.round(seconds / 60)} min`;
}

export const times = (width, height) => `${width} × ${height}`;
export const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);
