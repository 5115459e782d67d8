/**
 * T5's encoder as a text encoder: a row for each id, the padding's among them, for nothing is
 * masked. Reference: transformers' T5EncoderModel in float32.
 *
 * What sets it apart: queries and keys are multiplied as they are (scale 1), and where two tokens
 * stand tells a bias by their distance, the same in all blocks.
 *
 * Letters: S tokens, D width (d_model), H heads of width Dh (d_kv), F width of the MLP.
 */

/** @import { Tensor } from '../../engine/memory.js' */
/** @import { Ops } from '../../engine/ops.js' */
/** @import { Weights } from '../../engine/weights.js' */

/** How the names of tensors begin that come layer by layer where the weights are streamed. */
export const LAYERS = ['encoder.block.'];

/**
 * In f16 the states of published models overflow, so transformers keeps `wo` in f32 there. Nor has
 * anything shown that bytes hold them.
 * @type {import('../families.js').Precision}
 */
export const PRECISION = 'f32';

const BIAS = 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight';

/**
 * @param {Ops} g
 * @param {Weights} weights
 * @param {Record<string, any>} config the manifest's text encoder configuration
 * @param {import('../families.js').Tokens} tokens
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<{ rows: Tensor[], shape: number[] }>} [S, D]
 */
export async function encode(g, weights, config, { ids }, { signal } = {}) {
  const { d_model: D, num_layers: count, layer_norm_epsilon: eps } = config;
  const S = ids.length;
  const names = Array.from({ length: count }, (_, i) => `encoder.block.${i}`);
  const embeddings = await weights.gather('encoder.embed_tokens.weight', ids);
  const x = g.upload(embeddings, [S, D], 'text embeddings');        // [S, D]
  const bias = g.upload(await biases(weights, config, S), [config.num_heads, 2 * S - 1],
    'text biases');
  await weights.layers(names, (i) => {
    const w = (name) => weights.get(`${names[i]}.layer.${name}`);
    g.scope(() => attend(g, x, w, config, bias));
    g.scope(() => feed(g, x, w, eps));
  }, { signal });
  const rows = g.rmsNorm(x, weights.vector('encoder.final_layer_norm'), eps);  // [S, D]
  g.release(x, bias);
  await g.drain({ signal });
  return { rows: [rows], shape: rows.shape };
}

/** In place on x [S, D]: every token to every token. */
function attend(g, x, w, config, bias) {
  const { layer_norm_epsilon: eps, d_kv: headWidth } = config;
  const h = g.rmsNorm(x, w('0.layer_norm').data, eps);              // [S, D]
  const heads = (name) => g.linear(h, w(`0.SelfAttention.${name}`));  // [S, H * Dh]
  const a = g.attention(heads('q'), heads('k'), heads('v'), { headWidth, scale: 1, bias });
  g.linear(a, w('0.SelfAttention.o'), { into: x, add: true });
}

/** In place on x [S, D]. */
function feed(g, x, w, eps) {
  const mlp = (name) => w(`1.DenseReluDense.${name}`);
  g.gatedMlp(g.rmsNorm(x, w('1.layer_norm').data, eps), {
    gate: [mlp('wi_0')], up: [mlp('wi_1')], down: [mlp('wo')],
  }, 'gelu_tanh', { into: x, add: true });
}

/**
 * What each head adds to a score by the distance key - query, from 1 - S to S - 1.
 * @returns {Promise<Float32Array>} [H, 2 S - 1]
 */
async function biases(weights, config, S) {
  const { num_heads: H, relative_attention_num_buckets: buckets,
    relative_attention_max_distance: most } = config;
  const table = await weights.gather(BIAS, Array.from({ length: buckets }, (_, i) => i));
  const distances = 2 * S - 1;
  const made = new Float32Array(H * distances);
  for (let at = 0; at < distances; at++) {
    const bucket = bucketOf(at + 1 - S, buckets, most);
    for (let head = 0; head < H; head++) {
      made[head * distances + at] = table[bucket * H + head];
    }
  }
  return made;
}

/**
 * The bucket of a distance: half of all buckets are for keys behind the query. Half of those have
 * one distance each, the others grow with its logarithm up to `most`, from where on all share the
 * last. Rounded to f32 step by step as transformers rounds it, for borders fall on whole numbers.
 * @param {number} distance key - query
 * @param {number} buckets
 * @param {number} most
 */
export function bucketOf(distance, buckets, most) {
  const { fround } = Math;
  const half = Math.floor(buckets / 2);
  const side = distance > 0 ? half : 0;
  const near = Math.floor(half / 2);
  const far = Math.abs(distance);
  if (far < near) return side + far;
  const grown = fround(fround(Math.log(fround(far / near))) / fround(Math.log(most / near)));
  const steps = Math.trunc(fround(grown * (half - near)));
  return side + Math.min(near + steps, half - 1);
}
