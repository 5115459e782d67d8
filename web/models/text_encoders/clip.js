/**
 * CLIP's text model as a text encoder: its pooled row. Reference: transformers' CLIPTextModel in
 * float32.
 *
 * Attention is causal, so that row depends on no token behind the text's end: these are not run.
 *
 * Letters: T tokens up to the end, D hidden size, H heads of width D / H.
 */

/** @import { Tensor } from '../../engine/memory.js' */
/** @import { Ops } from '../../engine/ops.js' */
/** @import { Weights } from '../../engine/weights.js' */

/** How the names of tensors begin that come layer by layer where the weights are streamed. */
export const LAYERS = ['encoder.layers.'];

/**
 * All modulation hangs on this one row, and the rows of a text of 77 tokens are so little work that
 * half floats would gain nothing.
 * @type {import('../families.js').Precision}
 */
export const PRECISION = 'f32';

/** The eos_token_id of old configurations, which is another token's: there the largest id ends. */
const LARGEST = 2;

/**
 * A rehearsal, where nothing of a text is known but its length, runs all tokens, and two alone too:
 * few rows have kernels of their own.
 * @param {Ops} g
 * @param {Weights} weights
 * @param {Record<string, any>} config the manifest's text encoder configuration
 * @param {import('../families.js').Tokens} tokens
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<{ rows: Tensor[], shape: number[] }>} [1, D]
 */
export async function encode(g, weights, config, { ids }, { signal } = {}) {
  if (g.rehearsal && ids.length > 2) {
    const { rows } = await encode(g, weights, config, { ids: ids.slice(0, 2), valid: 2 });
    g.release(...rows);
    await g.drain();
  }
  const { hidden_size: D, num_hidden_layers: count, layer_norm_eps: eps } = config;
  const T = g.rehearsal ? ids.length : 1 + endOf(ids, config.eos_token_id);
  const names = Array.from({ length: count }, (_, i) => `encoder.layers.${i}`);
  const x = await embed(g, weights, ids.subarray(0, T), D);         // [T, D]
  await weights.layers(names, (i) => {
    const w = (name) => weights.get(`${names[i]}.${name}`);
    const b = (name) => weights.vector(`${names[i]}.${name}.bias`);
    g.scope(() => attend(g, x, w, b, config));
    g.scope(() => feed(g, x, w, b, eps));
  }, { signal });
  const last = g.scope(() => g.layerNorm(g.joinRows([[x, T - 1, 1]], 'end of the text'),
    weights.vector('final_layer_norm.weight'), weights.vector('final_layer_norm.bias'), eps));
  g.release(x);
  await g.drain({ signal });
  return { rows: [last], shape: last.shape };                       // [1, D]
}

/**
 * Where a text ends: the first place of its largest id, or of eos.
 * @param {Int32Array} ids
 * @param {number} eos
 */
export function endOf(ids, eos) {
  const end = eos === LARGEST ? ids.reduce((most, id) => Math.max(most, id)) : eos;
  return Math.max(0, ids.indexOf(end));
}

/** Each token's row of one table and each place's of another. @returns {Promise<Tensor>} [T, D] */
async function embed(g, weights, ids, D) {
  const T = ids.length;
  const rows = await weights.gather('embeddings.token_embedding.weight', ids);
  const x = g.upload(rows, [T, D], 'text embeddings');
  const places = weights.vector('embeddings.position_embedding').rows(0, T * D);
  return g.addScaled(x, places.reshape(T, D), 1);
}

/** In place on x [T, D]: every token to itself and those before it. */
function attend(g, x, w, b, { hidden_size: D, num_attention_heads: H, layer_norm_eps: eps }) {
  const h = g.layerNorm(x, w('layer_norm1').data, b('layer_norm1'), eps);
  const heads = (name) => g.linear(h, w(`self_attn.${name}_proj`),
    { bias: b(`self_attn.${name}_proj`) });
  const a = g.attention(heads('q'), heads('k'), heads('v'), { headWidth: D / H, causal: true });
  g.linear(a, w('self_attn.out_proj'), { bias: b('self_attn.out_proj'), into: x, add: true });
}

/** In place on x [T, D]. */
function feed(g, x, w, b, eps) {
  const h = g.layerNorm(x, w('layer_norm2').data, b('layer_norm2'), eps);
  const middle = g.linear(h, w('mlp.fc1'), { bias: b('mlp.fc1'), act: 'quick_gelu' });
  g.linear(middle, w('mlp.fc2'), { bias: b('mlp.fc2'), into: x, add: true });
}
