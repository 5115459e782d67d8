/** The ops that normalise rows of tokens, and that rotate heads. Letters as in ops.js. */
import { ShapeError } from './errors.js';
import { expectShape } from './memory.js';
import { RowOps } from './rows.js';

/** @import { Tensor } from './memory.js' */

export class NormOps extends RowOps {
  /** (1 + scale) * LN(x) + shift; both are chunks of D of a modulation vector, by index. */
  layerNormModulate(x, modulation, { shift, scale }, eps) {
    const [M, D] = x.shape;
    const y = this.empty([M, D], 'modulated');
    this.dispatch('layer_norm_modulate', {
      dims: { M, D, shift_at: shift * D, scale_at: scale * D, eps },
      tensors: [x, modulation, y], cost: 8 * x.count,
    });
    return y;
  }

  /** LN(x) * weight + bias over D: x [M, D], both others [D]. */
  layerNorm(x, weight, bias, eps) {
    const [M, D] = x.shape;
    expectShape(`layerNorm ${weight.label}`, weight, [D]);
    expectShape(`layerNorm ${weight.label}`, bias, [D]);
    const y = this.empty([M, D], weight.label);
    this.dispatch('layer_norm', {
      dims: { M, D, eps }, tensors: [x, weight, bias, y], cost: 8 * x.count,
    });
    return y;
  }

  /**
   * x / rms(x) * w, or x / rms(x) * w + bias, over the last `w.count` elements. x is [M, D], holds
   * heads: [T, H * Dh], or is a picture [H, W, C]; bias is [D].
   * @param {Tensor} x
   * @param {Tensor} weight
   * @param {number} eps
   * @param {{ bias?: Tensor, into?: Tensor }} [options]
   */
  rmsNorm(x, weight, eps, { bias, into } = {}) {
    const D = weight.count;
    if (x.width % D || (bias && bias.count !== D)) {
      throw new ShapeError(`rmsNorm ${weight.label}: width ${x.width} is no multiple of ${D}`
        + (bias ? `, or its bias has ${bias.count}` : ''));
    }
    const y = into ?? this.empty(x.shape, weight.label);
    expectShape(`rmsNorm ${weight.label}`, y, x.shape);
    this.dispatch('rms_norm', {
      constants: bias ? { BIAS: 1 } : {}, dims: { M: x.count / D, D, eps },
      tensors: [x, weight, bias ?? weight, y], cost: 4 * x.count,
    });
    return y;
  }

  /**
   * Heads of x [T, H * Dh], each normalised as rmsNorm does, then rotated by angles [*, Dh / 2, 2]
   * (cos, sin) from row t0 on, pairs interleaved or half-split.
   * @param {Tensor} x
   * @param {Tensor} weight
   * @param {Tensor} angles
   * @param {number} eps
   * @param {{ t0?: number, halfSplit?: boolean, into?: Tensor }} [options]
   */
  rmsNormRope(x, weight, angles, eps, { t0 = 0, halfSplit = false, into } = {}) {
    const T = x.shape[0];
    const Dh = weight.count;
    const y = into ?? this.empty(x.shape, weight.label);
    expectShape(`rmsNormRope ${weight.label}`, y, x.shape);
    expectAngles(`rmsNormRope ${weight.label}`, x, angles, { t0, Dh });
    this.dispatch('rms_norm_rope', {
      constants: halfSplit ? { HALF_SPLIT: 1 } : {}, dims: { T, H: x.width / Dh, Dh, t0, eps },
      tensors: [x, weight, angles, y], cost: 8 * x.count,
    });
    return y;
  }

  /**
   * In place: heads of x [T, H * Dh] rotated by angles [*, Dh / 2, 2], as rmsNormRope rotates those
   * that it has normalised.
   */
  rope(x, angles, { headWidth: Dh, t0 = 0, halfSplit = false }) {
    const T = x.shape[0];
    expectAngles(`rope ${x.label}`, x, angles, { t0, Dh });
    this.dispatch('rope', {
      constants: halfSplit ? { HALF_SPLIT: 1 } : {}, dims: { T, H: x.width / Dh, Dh, t0 },
      tensors: [angles, x], cost: 3 * x.count,
    });
    return x;
  }
}

function expectAngles(op, x, angles, { t0, Dh }) {
  expectShape(op, angles, [angles.shape[0], Dh / 2, 2]);
  if (x.width % Dh || t0 + x.shape[0] > angles.shape[0]) {
    throw new ShapeError(`${op}: [${x.shape}] are no heads of ${Dh}, or ${angles.shape[0]} angles `
      + `do not reach row ${t0 + x.shape[0]}`);
  }
}
