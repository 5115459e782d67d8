/**
 * Gemma 2 as a text encoder: the rows that its final norm leaves. Reference: transformers'
 * Gemma2Model in float32; the norms' weights are 1 + w already.
 *
 * Attention is causal, so what a prefix that all prompts share makes of itself depends on no
 * prompt: its keys and values are computed once, and kept on the CPU, where they are in nobody's
 * way while the other stages have the GPU: 2 * Hkv * Dh floats a layer and token.
 *
 * Letters: T tokens that are run, P tokens of the prefix before them, D hidden size, H and Hkv heads
 * of width Dh, F intermediate size.
 */
import { rotaryAngles } from './rotary.js';

/** @import { Tensor } from '../../engine/memory.js' */
/** @import { Ops } from '../../engine/ops.js' */
/** @import { Weights } from '../../engine/weights.js' */

/**
 * A prefix as every prompt needs it: ids [P]; keysAndValues [2 P, Hkv * Dh] of each layer, the keys
 * first; state [P, D], what the last layer left.
 * @typedef {{ ids: Int32Array, keysAndValues: Float32Array[], state: Float32Array }} Prefix
 */

/** How the names of tensors begin that come layer by layer where the weights are streamed. */
export const LAYERS = ['layers.'];

/**
 * diffusers runs published models in bf16 or f32 alone: f16 does not hold their activations. Nor has
 * anything shown yet that bytes do.
 * @type {import('../families.js').Precision}
 */
export const PRECISION = 'f32';

/** Its name among what was computed of the weights. */
const PREFIX = 'prefix';

/**
 * Only the tokens before `valid` are run. A rehearsal, where nothing of a text is known but its
 * length, runs all of them, and a single one too: few rows have kernels of their own.
 * @param {Ops} g
 * @param {Weights} weights
 * @param {Record<string, any>} config the manifest's text encoder configuration
 * @param {import('../families.js').Tokens & { keep?: [first: number, count: number][],
 *   prefix?: number }} tokens keep: the rows that are wanted, all below `valid`, default all of
 *   these; prefix: so many of the first ids are the same in other texts too
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<{ rows: Tensor[], shape: number[] }>} the wanted rows [V, D]
 */
export async function encode(g, weights, config, tokens, { signal } = {}) {
  if (g.rehearsal && tokens.ids.length > 1) {
    const { rows } = await encode(g, weights, config, { ids: tokens.ids.slice(0, 1), valid: 1 });
    g.release(...rows);
    await g.drain();
  }
  const { ids, valid, prefix = 0 } = tokens;
  const end = g.rehearsal ? ids.length : valid;
  const P = prefix < end ? prefix : 0;
  const { keep = [[0, end]] } = tokens;
  const { hidden_size: D, num_hidden_layers: count } = config;
  const names = Array.from({ length: count }, (_, i) => `layers.${i}`);
  const angles = g.upload(rotaryAngles(end, config), [end, config.head_dim / 2, 2], 'text angles');

  const x = await embed(g, weights, ids.subarray(P, end), D);       // [T, D]
  const known = P ? knownPrefix(weights, ids.subarray(0, P)) : null;
  const making = P && !known ? await startPrefix(g, weights, ids.slice(0, P), D) : null;
  const before = known ?? making?.made;
  await weights.layers(names, async (i) => {
    const layer = layerOf(g, weights, config, i, angles);
    if (making) await addLayer(g, making, layer, signal);
    g.scope(() => { layer.attend(x, { at: P, before: before?.keysAndValues[i] }); });
    layer.feed(x);
  }, { signal });
  if (making) await finishPrefix(g, weights, making, signal);

  const rows = g.scope(() => wanted(g, x, keep, P, before));        // [V, D]
  const normed = g.rmsNorm(rows, weights.vector('norm'), config.rms_norm_eps);
  g.release(x, rows, angles);
  await g.drain({ signal });
  return { rows: [normed], shape: normed.shape };
}

/** Rows of the embedding, times sqrt(D) as f32 has it. @returns {Promise<Tensor>} [T, D] */
async function embed(g, weights, ids, D) {
  const scale = Math.fround(Math.sqrt(D));
  const rows = await weights.gather('embed_tokens.weight', ids);
  return g.upload(rows.map((value) => value * scale), [ids.length, D], 'text embeddings');
}

/**
 * Both halves of a decoder layer, in place on x [T, D]. attend: the first token is the `at`-th;
 * before [2 at, Hkv * Dh]: keys and values of those ahead of it. What comes back are the keys and
 * values of all, [at + T, Hkv * Dh] each.
 * @returns {{ attend: (x: Tensor, options?: { at?: number, before?: Float32Array }) =>
 *   [Tensor, Tensor], feed: (x: Tensor) => void }}
 */
function layerOf(g, weights, config, i, angles) {
  const { rms_norm_eps: eps, head_dim: headWidth } = config;
  const w = (name) => weights.get(`layers.${i}.${name}`);
  const norm = (x, name) => g.rmsNorm(x, w(name).data, eps);
  const scores = { headWidth, causal: true, scale: config.query_pre_attn_scalar ** -0.5,
    softcap: config.attn_logit_softcapping,
    window: config.layer_types[i] === 'sliding_attention' ? config.sliding_window : undefined };

  return {
    attend: (x, { at = 0, before } = {}) => g.scope(() => {
      const h = norm(x, 'input_layernorm');                         // [T, D]
      const heads = (name) => g.linear(h, w(`self_attn.${name}`));  // [T, H * Dh] or [T, Hkv * Dh]
      const turned = (name) => g.rope(heads(name), angles, { headWidth, t0: at, halfSplit: true });
      const q = turned('q_proj');
      const [k, v] = behind(g, before, at, [turned('k_proj'), heads('v_proj')]);
      const a = g.attention(q, k, v, { ...scores, at });            // [T, H * Dh]
      const o = g.linear(a, w('self_attn.o_proj'));                 // [T, D]
      g.addScaled(x, norm(o, 'post_attention_layernorm'), 1);
      return [k, v];
    }),
    feed: (x) => g.scope(() => {
      const mlp = g.gatedMlp(norm(x, 'pre_feedforward_layernorm'), {
        gate: [w('mlp.gate_proj')], up: [w('mlp.up_proj')], down: [w('mlp.down_proj')],
      }, 'gelu_tanh');
      g.addScaled(x, norm(mlp, 'post_feedforward_layernorm'), 1);
    }),
  };
}

/** Keys and values [T, W] each behind those of the P tokens before them, [2 P, W]. */
function behind(g, before, P, [k, v]) {
  if (!before) return [k, v];
  const [T, W] = k.shape;
  const kept = g.upload(before, [2 * P, W], 'prefix');
  return [g.joinRows([[kept, 0, P], [k, 0, T]], 'keys'),
    g.joinRows([[kept, P, P], [v, 0, T]], 'values')];
}

/** @returns {Prefix | null} what is kept of these ids */
function knownPrefix(weights, ids) {
  const known = weights.computed.get(PREFIX);
  return known?.ids.length === ids.length && ids.every((id, i) => id === known.ids[i])
    ? known : null;
}

/** A prefix that is being computed, in the same walk through the layers: x [P, D] is its state. */
async function startPrefix(g, weights, ids, D) {
  const made = { ids, keysAndValues: [], state: null };
  return { x: await embed(g, weights, ids, D), made };
}

/** Runs it through its next layer. Nothing of a text's waits beside it, nor the reverse. */
async function addLayer(g, { x, made }, { attend, feed }, signal) {
  await g.drain({ signal });
  const joined = g.scope(() => {
    const [k, v] = attend(x);
    const [P] = k.shape;
    return g.joinRows([[k, 0, P], [v, 0, P]], 'prefix');            // [2 P, Hkv * Dh]
  });
  await g.drain({ signal });
  made.keysAndValues.push(new Float32Array(await g.read(joined, { signal })));
  g.release(joined);
  feed(x);
  await g.drain({ signal });
}

/** It is kept only when it is whole. */
async function finishPrefix(g, weights, { x, made }, signal) {
  made.state = new Float32Array(await g.read(x, { signal }));
  g.release(x);
  weights.computed.set(PREFIX, made);
}

/**
 * The rows of `keep` of all tokens' states, those before the P-th from the prefix's.
 * @param {Ops} g
 * @param {Tensor} x [T, D]
 * @param {[first: number, count: number][]} keep
 * @param {number} P
 * @param {Prefix} [before]
 * @returns {Tensor} [V, D]
 */
function wanted(g, x, keep, P, before) {
  const shared = keep.some(([first]) => first < P)
    && g.upload(before.state, [P, x.width], 'prefix');
  /** @type {[Tensor, number, number][]} */
  const pieces = [];
  for (const [first, count] of keep) {
    const split = Math.min(Math.max(P - first, 0), count); // rows of it that are the prefix's
    if (split) pieces.push([shared, first, split]);
    if (split < count) pieces.push([x, first + split - P, count - split]);
  }
  return g.joinRows(pieces, 'text rows');
}
