/** The ops that the loaded model consists of, found by a rehearsal of one picture. */
import { ownPicture, rehearsing } from '../api/rehearsals.js';
import { Ops } from '../engine/ops.js';
import { draw } from '../models/draw.js';
import { familyOf } from '../models/families.js';
import { rowOf } from './shapes.js';

/**
 * @param {import('./engine.js').Engine} engine
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @returns {Promise<import('./shapes.js').Row[]>} a row for each op and shape, in the order of
 *   their first use, with `calls`: how often a picture of the model's own size and steps makes it
 */
export async function modelRows(engine, manifest) {
  const ops = engine.rehearsal(Noting);
  const family = familyOf(manifest);
  const drawing = ownPicture(manifest);
  const executor = rehearsing(ops, manifest, family, { budget: Infinity, memory: 'auto' });
  await draw(executor, family, manifest, drawing, {
    onProgress: ({ stage }) => { ops.times = stage === 'denoise' ? drawing.steps : 1; },
    observe: () => {},
  });
  return [...ops.noted.values()];
}

/** Ops that note what they are asked for. */
class Noting extends Ops {
  /** @type {Map<string, import('./shapes.js').Row>} by id */
  noted = new Map();
  /** How often what follows is done in a picture; a rehearsal does one step of all. */
  times = 1;

  linear(x, weight, options = {}) {
    const { storage, group, scalesDtype: scales, shape } = weight;
    this.#note({ op: 'linear', M: x.shape[0], K: options.columns?.[1] ?? shape[1],
      N: options.rows?.[1] ?? shape[0], storage, group, scales,
      ...(options.bias && { bias: true }), ...(options.act && { act: options.act }) });
    return super.linear(x, weight, options);
  }

  attention(q, k, v, options) {
    const { headWidth: Dh, causal = false, softcap, bias } = options;
    this.#note({ op: 'attention', Tq: q.shape[0], Tk: k.shape[0], Hq: q.width / Dh,
      Hkv: k.width / Dh, Dh, causal, ...(softcap && { softcap }), ...(bias && { bias: true }) });
    return super.attention(q, k, v, options);
  }

  conv2d(x, parts, options) {
    this.#noteConvolution(x, parts);
    return super.conv2d(x, parts, options);
  }

  depthwise(x, weight, options = {}) {
    const [H, W, channels] = x.shape;
    const { gated = false } = options;
    this.#note({ op: 'depthwise', H, W, C: gated ? channels / 2 : channels, KS: weight.shape[0],
      gated, storage: weight.storage });
    return super.depthwise(x, weight, options);
  }

  linearGrouped(x, weight, target) {
    const [H, W, C] = x.shape;
    this.#note({ op: 'linearGrouped', H, W, C, K: weight.count / C });
    return super.linearGrouped(x, weight, target);
  }

  linearAttention(q, k, v, heads) {
    const { headWidth: Dh } = heads;
    this.#note({ op: 'linearAttention', T: q.shape[0], H: q.width / Dh, Dh });
    return super.linearAttention(q, k, v, heads);
  }

  fork(x, branches) {
    branches.forEach((parts) => this.#noteConvolution(x, parts));
    return super.fork(x, branches);
  }

  groupNorm(x, norm) {
    this.#noteNorm(x, norm);
    return super.groupNorm(x, norm);
  }

  layerNormModulate(x, ...rest) {
    this.#note({ op: 'layerNormModulate', M: x.shape[0], D: x.width });
    return super.layerNormModulate(x, ...rest);
  }

  layerNorm(x, ...rest) {
    this.#note({ op: 'layerNorm', M: x.shape[0], D: x.width });
    return super.layerNorm(x, ...rest);
  }

  rmsNorm(x, weight, eps, options = {}) {
    this.#note({ op: 'rmsNorm', M: x.count / weight.count, D: weight.count,
      ...(options.bias && { bias: true }) });
    return super.rmsNorm(x, weight, eps, options);
  }

  rope(x, angles, options) {
    const { headWidth: Dh, halfSplit = false } = options;
    this.#note({ op: 'rope', T: x.shape[0], H: x.width / Dh, Dh, halfSplit });
    return super.rope(x, angles, options);
  }

  #noteConvolution(x, { weight, norm, up = 1 }) {
    const [H, W, Cin] = x.shape;
    if (norm) this.#noteNorm(x, norm);
    const KS = weight.shape.length === 4 ? weight.shape[1] : 1;
    this.#note({ op: 'conv2d', H, W, Cin, Cout: weight.shape[0], KS, up, storage: weight.storage });
  }

  #noteNorm({ shape: [H, W, C] }, { groups }) {
    this.#note({ op: 'groupNorm', H, W, C, groups });
  }

  #note(shape) {
    const row = rowOf(shape, 'model');
    if (!this.noted.has(row.id)) this.noted.set(row.id, { ...row, calls: 0 });
    this.noted.get(row.id).calls += this.times;
  }
}
