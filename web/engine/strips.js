/** Pictures in pieces. */
import { Tensor } from './memory.js';

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
 * @param {Tensor} tensor [H, W, C]
 * @param {number} first
 * @param {number} count
 */
export function rowsOf({ allocation, shape: [, W, C], label, offset }, first, count) {
  return new Tensor(allocation, [count, W, C], label, offset + 4 * first * W * C);
}
