/** Pictures in pieces. */
import { Tensor } from './memory.js';

/**
 * A strip has at most this many bytes, and a quarter of what the device binds: a convolution reads
 * one and some rows of its neighbours at a time.
 */
const STRIP_BYTES = 16 * 2 ** 20;

/** @typedef {import('./recorder.js').Recorder} Recorder */

/**
 * A picture [H, W, C] in strips of whole rows, each a tensor of its own, so that no size outgrows
 * what a device binds, and that rows which are done with make room. A small one is one strip.
 */
export class Strips {
  /**
   * @param {number[]} shape [H, W, C]
   * @param {number} height rows of a strip
   * @param {Tensor[]} [tensors] [height, W, C] each; a gap where a strip was not made yet, or is
   *   released
   */
  constructor(shape, height, tensors = []) {
    this.shape = shape;
    this.height = height;
    this.tensors = tensors;
  }

  /**
   * The picture itself; a tensor [H, W, C] is one strip.
   * @param {Strips | Tensor} picture
   */
  static of(picture) {
    if (picture instanceof Strips) return picture;
    return new Strips(picture.shape, picture.shape[0], [picture]);
  }

  /**
   * Where rows first .. past - 1 lie.
   * @returns {{ tensor: Tensor, at: number, row: number, count: number }[]} row `row` and the
   *   `count - 1` below it are those from `at` on of the tensor
   */
  parts(first, past) {
    const found = [];
    for (let row = first, end; row < past; row = end) {
      const index = Math.floor(row / this.height);
      end = Math.min(past, (index + 1) * this.height);
      found.push({ tensor: this.tensors[index], at: row % this.height, row, count: end - row });
    }
    return found;
  }
}

/**
 * A view of rows for copying: unlike one that is bound it may start anywhere.
 * @param {Tensor} tensor [M, ...]
 * @param {number} first
 * @param {number} count
 */
export function rowsOf({ allocation, shape: [M, ...row], bytes, label, offset }, first, count) {
  return new Tensor(allocation, [count, ...row], label, offset + first * bytes / M);
}

/** Most bytes of a strip. @param {Recorder} g */
function stripBytes(g) {
  return Math.min(STRIP_BYTES, g.allocator.limit / 4);
}

/** Rows of [W, C] that fit a strip, one at least. @param {Recorder} g */
export function stripRows(g, W, C) {
  return Math.max(1, Math.floor(stripBytes(g) / (4 * W * C)));
}

/**
 * A picture [H, W, C] of which no strip is made yet.
 * @param {Recorder} g
 * @param {number[]} shape
 * @param {number} [height] rows of a strip
 */
export function emptyStrips(g, shape, height = stripRows(g, shape[1], shape[2])) {
  return new Strips(shape, Math.min(shape[0], height));
}

/**
 * The strip that row `row` is in, allocated if it was not made yet. One of several is as large as
 * any picture's strip, so that they take each other's place; or, where somebody else has chosen
 * their height, as the others of its picture.
 * @param {Recorder} g
 * @param {Strips} y
 * @param {number} row
 * @param {string} label
 * @returns {Tensor}
 */
export function stripAt(g, y, row, label) {
  const { shape: [H, W, C], height } = y;
  const index = Math.floor(row / height);
  const usual = height === stripRows(g, W, C) ? stripBytes(g) : 4 * height * W * C;
  const least = height < H ? usual : 0;
  y.tensors[index] ??= g.empty([Math.min(height, H - index * height), W, C], label, least);
  return y.tensors[index];
}

/** Releases the strips that end above a row. @param {Recorder} g @param {Strips} x */
export function releaseAbove(g, x, row) {
  x.tensors.slice(0, Math.max(0, row / x.height)).forEach((tensor, i) => {
    g.release(tensor);
    delete x.tensors[i];
  });
}

/**
 * Rows first .. past - 1, and maybe others, in one tensor that begins with row `row`.
 * @param {Recorder} g
 * @param {Strips} x
 * @param {number} first
 * @param {number} past
 */
export function joinedRows(g, x, first, past) {
  const parts = x.parts(first, past);
  if (parts.length === 1) return { tensor: parts[0].tensor, row: first - parts[0].at };
  const [, W, C] = x.shape;
  const tensor = g.empty([past - first, W, C], 'rows of several strips');
  for (const { tensor: strip, at, row, count } of parts) {
    g.copy(rowsOf(strip, at, count), rowsOf(tensor, row - first, count));
  }
  return { tensor, row: first };
}
