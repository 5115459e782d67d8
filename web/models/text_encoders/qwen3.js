/**
 * Qwen3 as a text encoder: the hidden states of chosen layers, tapped on the way up.
 * Reference: transformers' Qwen3Model. S tokens, D hidden size, H and Hkv heads of width Dh,
 * F intermediate size.
 */
import { integers } from '../graph_values.js';
import { rotaryAngles } from './rotary.js';

/** How the names of tensors begin that come layer by layer where the weights are streamed. */
export const LAYERS = ['layers.'];

/**
 * @param {import('../../engine/ops.js').Ops} g
 * @param {import('../../engine/weights.js').Weights} weights
 * @param {Record<string, any>} config the manifest's text encoder configuration; a tap t is
 *   hidden_states[t]: the output of layer t - 1, and after the last layer of the whole model its
 *   final norm
 * @param {import('../families.js').Tokens} tokens
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<{ rows: import('../../engine/memory.js').Tensor[], shape: number[] }>} a [S, D]
 *   per tap, in the taps' order; shape: that of all of them side by side
 */
export async function encode(g, weights, config, { ids, valid }, { signal } = {}) {
  const { hidden_size: D, rms_norm_eps: eps, total_hidden_layers: total, taps } = config;
  const S = ids.length;
  const embeddings = await weights.gather('embed_tokens.weight', ids);
  const x = g.upload(embeddings, [S, D], 'text embeddings');        // [S, D]
  const angles = g.upload(rotaryAngles(S, config), [S, config.head_dim / 2, 2], 'text angles');
  const tapped = new Map(taps.includes(0) ? [[0, g.clone(x)]] : []);
  const names = Array.from({ length: Math.max(...taps) }, (_, i) => `layers.${i}`);
  await weights.layers(names, (i) => {
    const w = (name) => weights.get(`${names[i]}.${name}`);
    g.scope(() => layer(g, x, w, config, { angles, valid }));
    const t = i + 1;
    if (taps.includes(t)) {
      tapped.set(t, t === total ? g.rmsNorm(x, weights.vector('norm'), eps) : g.clone(x));
    }
  }, { signal });
  g.release(x, angles);
  await g.drain({ signal });
  return { rows: taps.map((t) => tapped.get(t)), shape: [S, taps.length * D] };
}

/**
 * What the ONNX graph is fed with.
 * @param {import('../families.js').Tokens} tokens
 */
export function feed({ ids, valid }) {
  const mask = ids.map((_, i) => (i < valid ? 1 : 0));
  return { input_ids: integers(ids, [1, ids.length]),
    attention_mask: integers(mask, [1, ids.length]) };
}

/** In place: one decoder layer on x [S, D]. */
function layer(g, x, w, config, { angles, valid }) {
  const { rms_norm_eps: eps, head_dim: Dh } = config;
  g.scope(() => {
    const h = g.rmsNorm(x, w('input_layernorm').data, eps);         // [S, D]
    const heads = (name) => g.linear(h, w(`self_attn.${name}`));    // [S, H * Dh] or [S, Hkv * Dh]
    const turned = (name, norm) => g.rmsNormRope(
      heads(name), w(`self_attn.${norm}`).data, angles, eps, { halfSplit: true },
    );
    const a = g.attention(turned('q_proj', 'q_norm'), turned('k_proj', 'k_norm'), heads('v_proj'),
      { headWidth: Dh, causal: true, valid });                      // [S, H * Dh]
    g.linear(a, w('self_attn.o_proj'), { into: x, add: true });
  });
  const h = g.rmsNorm(x, w('post_attention_layernorm').data, eps);
  g.gatedMlp(h, {
    gate: [w('mlp.gate_proj')], up: [w('mlp.up_proj')], down: [w('mlp.down_proj')],
  }, 'silu', { into: x, add: true });
}
