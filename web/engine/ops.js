/**
 * The ops that models are written in: each checks shapes, picks a kernel and records it.
 *
 * Letters: M, T rows or tokens; K, N input and output width; D width; H heads; Dh head width;
 * C channels. Activations are f32 and row-major. Norms and rotations are in norms.js, ops on
 * pictures in pictures.js and rows.js. Ops that say `in place` change their first argument; `into`
 * and `add` write to, or add to, a tensor that the caller has.
 */
import { attentionSite, recordAttention } from './attention.js';
import { depthwise, glumbConv } from './depthwise.js';
import { ShapeError } from './errors.js';
import { ACT, EPILOGUE, inputUnit, linearSite, recordLinear } from './linear.js';
import { applySums, linearAttention, sumKeys } from './linear_attention.js';
import { expectShape } from './memory.js';
import { gatedMlp, mlp } from './mlp.js';
import { NormOps } from './norms.js';
import { rowsOf } from './strips.js';

/** @import { Tensor } from './memory.js' */
/** @import { Weight } from './weights.js' */

/** Row counts of chunks are multiples of this, so that every chunk starts 256-byte aligned. */
const ROW_STEP = 64;

export class Ops extends NormOps {
  /** @returns {import('./memory.js').Tensor} f32 [shape] with these values */
  upload(data, shape, label) {
    const tensor = this.empty(shape, label);
    this.write(tensor, data);
    return tensor;
  }

  /** A copy: [shape] of x, or into `into`. */
  clone(x, into = this.empty(x.shape, x.label)) {
    expectShape('clone', into, x.shape);
    this.copy(x, into);
    return into;
  }

  /**
   * Rows of tensors of one width, one after another.
   * @param {[x: Tensor, first: number, count: number][]} pieces rows first .. first + count - 1 of
   *   x [M, D]
   * @param {string} label
   * @returns {Tensor} [the sum of their counts, D]
   * @throws {ShapeError} a piece has no such rows, or another width
   */
  joinRows(pieces, label) {
    const D = pieces[0][0].width;
    const y = this.empty([pieces.reduce((sum, [, , count]) => sum + count, 0), D], label);
    let at = 0;
    for (const [x, first, count] of pieces) {
      expectShape(`joinRows ${label}`, x, [x.shape[0], D]);
      if (!(count > 0 && first >= 0 && first + count <= x.shape[0])) {
        throw new ShapeError(`joinRows ${label}: ${count} rows from ${first} on, of [${x.shape}]`);
      }
      this.copy(rowsOf(x, first, count), rowsOf(y, at, count));
      at += count;
    }
    return y;
  }

  /**
   * y[M, N] = r, the product x[M, K] . W[n0 .. n0 + N, k0 .. k0 + K]^T, or what is made of it:
   * with `bias` r + bias[n0 .. n0 + N], then `act` of that, then `add`, `glu` or `gate`.
   * @param {Tensor} x
   * @param {Weight} weight [N_all, K_all]
   * @param {{ rows?: [number, number], columns?: [number, number], bias?: Tensor,
   *   act?: keyof typeof ACT, into?: Tensor, add?: boolean, glu?: boolean,
   *   gate?: [Tensor, number] }} [options]
   *   rows = [n0, N], columns = [k0, K]: the part of W that is used; default all of it. bias: f32
   *   [N_all]. With `into` y: add: y += r; glu: y = act(y) * r, where r is not activated; gate
   *   [modulation, chunk]: y += chunk of N of the modulation vector * r
   * @throws {ShapeError} shapes do not fit, or a part does not begin and end between groups
   */
  linear(x, weight, { rows, columns, bias, act = 'none', into, add, glu, gate } = {}) {
    const [n0, N] = rows ?? [0, weight.shape[0]];
    const [k0, K] = columns ?? [0, weight.shape[1]];
    const M = x.shape[0];
    const where = `linear ${weight.label}`;
    expectShape(where, x, [M, K]);
    if (bias) expectShape(`${where} bias`, bias, [weight.shape[0]]);
    const y = into ?? this.empty([M, N], weight.label);
    expectShape(where, y, [M, N]);
    const { op, constants, buffers } = linearSite(weight, M);
    const unit = inputUnit(constants);
    if (K % unit || k0 % unit || weight.shape[1] % unit) {
      throw new ShapeError(`${where}: columns ${k0} + ${K} of ${weight.shape[1]}, `
        + `expected multiples of ${unit}`);
    }
    if (!(act in ACT)) {
      throw new ShapeError(`${where}: act is ${act}, expected one of `
        + Object.keys(ACT).join(', '));
    }
    const kernel = this.choice.pick(op, constants, { M, N, K }, weight.precision);
    const made = (add && 'add') || (glu && 'glu') || (gate && 'gate') || 'write';
    const step = this.#rowStep(M, 2 * N * K);
    for (let m = 0; m < M; m += step) {
      const count = Math.min(step, M - m);
      recordLinear(this, kernel, {
        constants, buffers, x: x.rows(m, count), y: y.rows(m, count), bias, gate: gate?.[0],
        dims: { M: count, N, K, K_all: weight.shape[1], n0, k0, gate_at: N * (gate?.[1] ?? 0) },
        act: ACT[act], epilogue: EPILOGUE[made],
      });
    }
    return y;
  }

  /**
   * A gated MLP: mlp.js.
   * @param {Tensor} x
   * @param {Parameters<typeof gatedMlp>[2]} parts
   * @param {keyof typeof ACT} act
   * @param {Parameters<Ops['linear']>[2]} [options]
   */
  gatedMlp(x, parts, act, options) {
    return gatedMlp(this, x, parts, act, options);
  }

  /**
   * A plain one: mlp.js.
   * @param {Tensor} x
   * @param {Parameters<typeof mlp>[2]} parts
   * @param {keyof typeof ACT} act
   * @param {Parameters<Ops['linear']>[2]} [options]
   */
  mlp(x, parts, act, options) {
    return mlp(this, x, parts, act, options);
  }

  /**
   * softmax(scale * q k^T) v with grouped queries: q [Tq, Hq * Dh], k and v [Tk, Hkv * Dh] ->
   * [Tq, Hq * Dh].
   * @param {Tensor} q
   * @param {Tensor} k
   * @param {Tensor} v
   * @param {{ headWidth: number, scale?: number, causal?: boolean, valid?: number,
   *   window?: number, softcap?: number, bias?: Tensor, at?: number }} options
   *   scale: Dh ** -0.5 unless it is given. Which keys count: those before `valid`; causal: those
   *   up to the query's own place, the first query's being `at`, 0 unless told; window: and no more
   *   than so many of them. What becomes of a score: softcap * tanh(score / softcap), then bias
   *   [Hq, at + Tq + Tk - 1] is added, which has for each head the distances key - query from
   *   1 - at - Tq to Tk - 1
   * @throws {ShapeError}
   */
  attention(q, k, v, options) {
    const { headWidth: Dh, scale = options.headWidth ** -0.5, valid = k.shape[0], bias } = options;
    const { at = 0 } = options;
    const [Tq, Tk] = [q.shape[0], k.shape[0]];
    const [Hq, Hkv] = [q.width / Dh, k.width / Dh];
    expectHeads(q, k, Dh);
    expectShape('attention', v, [Tk, Hkv * Dh]);
    if (bias) expectShape('attention', bias, [Hq, at + Tq + Tk - 1]);
    const o = this.empty(q.shape, 'attention');
    const constants = attentionSite(options, Tk);
    const kernel = this.choice.pick('attention', constants, { M: Tq, N: Tk, K: Hq * Dh });
    const step = this.#rowStep(Tq, 4 * Tk * Hq * Dh);
    for (let q0 = 0; q0 < Tq; q0 += step) {
      const count = Math.min(step, Tq - q0);
      recordAttention(this, kernel, {
        constants, dims: { Tq: count, Tk, Hq, Hkv, valid, q0: at + q0, scale },
        q: q.rows(q0, count), k, v, bias, o: o.rows(q0, count),
      });
    }
    return o;
  }

  /**
   * As linear_attention.js has it: q, k, v [T, width] -> [T, heads * headWidth].
   * @param {Tensor} q
   * @param {Tensor} k
   * @param {Tensor} v
   * @param {import('./linear_attention.js').Heads} heads
   */
  linearAttention(q, k, v, heads) {
    return linearAttention(this, q, k, v, heads);
  }

  /**
   * Its first half, for keys and values in several tensors.
   * @param {[Tensor, Tensor][]} strips
   * @param {import('./linear_attention.js').Heads} heads
   */
  linearAttentionSums(strips, heads) {
    return sumKeys(this, strips, heads);
  }

  /**
   * Its second half.
   * @param {Tensor} q
   * @param {Tensor} sums
   * @param {import('./linear_attention.js').Heads} heads
   */
  linearAttentionOf(q, sums, heads) {
    return applySums(this, q, sums, heads);
  }

  /**
   * A convolution of each channel by itself: depthwise.js.
   * @param {Tensor} x
   * @param {Weight} weight
   * @param {Parameters<typeof depthwise>[3]} [options]
   */
  depthwise(x, weight, options) {
    return depthwise(this, x, weight, options);
  }

  /**
   * The gated MLP with a depth-wise convolution in its middle: depthwise.js.
   * @param {Tensor} x
   * @param {Parameters<typeof glumbConv>[2]} parts
   * @param {Parameters<Ops['linear']>[2]} [options]
   */
  glumbConv(x, parts, options) {
    return glumbConv(this, x, parts, options);
  }

  /** In place: x [M, D] += row [D], to each row. */
  addRow(x, row) {
    const [M, D] = x.shape;
    expectShape('addRow', row.reshape(row.count), [D]);
    if (D % 4) throw new ShapeError(`addRow: ${x.label} is [${x.shape}], expected fours`);
    this.dispatch('add_row', { dims: { M, D }, tensors: [row, x], cost: x.count });
    return x;
  }

  /** x [P, C] * scale [C] + shift [C]: a group norm of one group, whose mean is 0. */
  scaleShift(x, { scale, shift }) {
    const [P, C] = x.shape;
    const y = this.empty(x.shape, `${x.label} scaled`);
    this.dispatch('group_norm_apply', {
      dims: { P, C, G: 1, x0: 0, y0: 0 },
      tensors: [x, this.upload(Float32Array.of(0, 1), [1, 2], 'mean and deviation'),
        this.upload(scale, [C], 'scale'), this.upload(shift, [C], 'shift'), y],
      cost: 4 * x.count,
    });
    return y;
  }

  /** In place: x += alpha * y. */
  addScaled(x, y, alpha) {
    expectShape('addScaled', y, x.shape);
    this.dispatch('add_scaled', {
      dims: { count: x.count, alpha }, tensors: [y, x], cost: 2 * x.count,
    });
    return x;
  }

  /** In place. */
  silu(x) {
    this.dispatch('silu', { dims: { count: x.count }, tensors: [x], cost: 4 * x.count });
    return x;
  }

  /** In place. */
  relu(x) {
    this.dispatch('relu', { dims: { count: x.count }, tensors: [x], cost: x.count });
    return x;
  }

  /** Rows of one dispatch: all of M, or a multiple of ROW_STEP that keeps it short. */
  #rowStep(M, rowCost) {
    const rows = Math.floor(this.dispatchCost / rowCost / ROW_STEP) * ROW_STEP;
    return Math.min(M, Math.max(ROW_STEP, rows));
  }
}

function expectHeads(q, k, Dh) {
  if (q.width % Dh || k.width % Dh || q.width % k.width) {
    throw new ShapeError(`attention: q is [${q.shape}], k [${k.shape}], expected heads of ${Dh}, `
      + 'as many of q to each of k');
  }
}
