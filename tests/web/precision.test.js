/** A part that states how exact its kernels must be gets no others, whatever the caller allows. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { Choice } from '../../web/engine/choice.js';
import { GpuExecutor } from '../../web/engine/executor.js';
import { Kernels } from '../../web/engine/kernels.js';
import { Allocator } from '../../web/engine/memory.js';
import { Ops } from '../../web/engine/ops.js';
import { KERNELS } from '../../web/engine/selfcheck.js';
import { Stages } from '../../web/engine/stages.js';
import { TensorFiles } from '../../web/loader/tensors.js';
import { FAMILIES } from '../../web/models/families.js';

const GPU = { f16: true, subgroup: 32, dot: true, software: false };
const WGSL = new URL('../../wgsl/', import.meta.url);
const LINEAR = { BITS: 4, ZERO: 8, GROUP: 32, FORMAT: 2, BIASED: 1 };
const DIMS = { M: 64, N: 64, K: 64 };
const [D, F, C] = [64, 96, 8]; // widths of the encoder and its MLP, channels

const place = (bytes) => [[0, 0, bytes]];
const vector = (...shape) => ({ shape, use: 'vector', storage: 'f32',
  data: place(4 * shape.reduce((product, n) => product * n)) });
const dense = (...shape) => ({ shape, storage: 'f16',
  data: place(2 * shape.reduce((product, n) => product * n)) });
const packed = (N, K) => ({ shape: [N, K], storage: 'affine4', group: 32, scales_dtype: 'f16',
  codes: place(N * K / 2), scales: place(N * K / 16), biases: place(N * K / 16) });

const ENCODER = {
  config: { hidden_size: D, num_hidden_layers: 1, head_dim: 16, rope_theta: 1e4, sliding_window: 9,
    rms_norm_eps: 1e-6, query_pre_attn_scalar: 16, attn_logit_softcapping: 50,
    layer_types: ['full_attention'] },
  tensors: {
    'embed_tokens.weight': { ...dense(7, D), use: 'rows' }, 'norm.weight': vector(D),
    ...Object.fromEntries(['input_layernorm', 'post_attention_layernorm',
      'pre_feedforward_layernorm', 'post_feedforward_layernorm',
    ].map((name) => [`layers.0.${name}.weight`, vector(D)])),
    ...Object.fromEntries(['q_proj', 'k_proj', 'v_proj', 'o_proj']
      .map((name) => [`layers.0.self_attn.${name}.weight`, packed(D, D)])),
    'layers.0.mlp.gate_proj.weight': packed(F, D), 'layers.0.mlp.up_proj.weight': packed(F, D),
    'layers.0.mlp.down_proj.weight': packed(D, F),
  },
};
const DECODER = {
  config: { block_out_channels: [C], layers_per_block: [1], block_types: ['ResBlock'],
    act_fns: ['silu'], conv_act_fn: 'relu', qkv_multiscales: [[]], attention_head_dim: 4,
    upsample_block_type: 'interpolate', in_shortcut: true },
  tensors: {
    'decoder.conv_in.weight': dense(C, 3, 3, 4), 'decoder.conv_in.bias': vector(C),
    'decoder.up_blocks.0.0.conv1.weight': dense(C, 3, 3, C),
    'decoder.up_blocks.0.0.conv1.bias': vector(C),
    'decoder.up_blocks.0.0.conv2.weight': dense(C, 3, 3, C),
    'decoder.up_blocks.0.0.norm.weight': vector(C), 'decoder.up_blocks.0.0.norm.bias': vector(C),
    'decoder.norm_out.weight': vector(C), 'decoder.norm_out.bias': vector(C),
    'decoder.conv_out.weight': dense(3, 3, 3, C), 'decoder.conv_out.bias': vector(3),
  },
};
const MANIFEST = {
  prompts: [{ encoder: 'text_encoder' }], latents: { channels: 4, pixels: 1, scale: 2, shift: 0 },
  components: { text_encoder: { config: ENCODER.config, gpu_bytes: 1 },
    autoencoder: { config: DECODER.config, gpu_bytes: 1 } },
  tensors: Object.fromEntries([['text_encoder', ENCODER], ['autoencoder', DECODER]]
    .flatMap(([part, { tensors }]) => Object.entries(tensors)
      .map(([name, tensor]) => [`${part}.${name}`, tensor]))),
};

/** Rehearses a text and a decoding by a family's parts. @returns {Promise<object[]>} the sites */
async function rehearse(family) {
  const kernels = new Kernels(null, WGSL, async (url) => readFileSync(url, 'utf8'));
  await kernels.load(KERNELS);
  const choice = new Choice(GPU, 'int8');
  const g = new Ops({ device: null, kernels, choice, allocator: new Allocator(null, 2 ** 27) });
  const files = new TensorFiles(MANIFEST, { read: async (_, at, bytes) => new Uint8Array(bytes) });
  const { components } = MANIFEST;
  const stages = new Stages(g, files, { components, budget: 2 ** 30, memory: 'auto' });
  const executor = new GpuExecutor({ g, stages, files, manifest: MANIFEST }, family);
  const hooks = { observe() {} };
  await executor.encode([[{ ids: new Int32Array(40), valid: 40 }]], hooks);
  const grid = { height: 6, width: 6 };
  await executor.decode(g.empty([36, 4], 'latents'), { ...grid, grid }, hooks);
  return [...choice.sites.values()];
}

test('Gemma and DC-AE keep to f32 where less is allowed', async () => {
  const sites = await rehearse(FAMILIES.sana);
  const ops = new Set(sites.map(({ op }) => op));
  assert.deepEqual([...ops].filter((op) => op !== 'attention').sort(),
    ['conv2d', 'linear_packed', 'linear_packed few']);
  for (const { op, precision } of sites) {
    if (op !== 'attention') assert.equal(precision, 'f32', op);
  }
});

test('the same parts would have taken less, had they not said so', async () => {
  const { encoders: { text_encoder: encoder }, autoencoder } = FAMILIES.sana;
  const silent = { encoders: { text_encoder: { ...encoder, PRECISION: undefined } },
    autoencoder: { ...autoencoder, PRECISION: undefined } };
  for (const { op, precision } of await rehearse(silent)) assert.equal(precision, 'int8', op);
});

test('an op that two components have is decided for each of them', () => {
  const choice = new Choice(GPU, 'int8');
  assert.equal(choice.pick('linear_packed', LINEAR, DIMS).precision, 'int8');
  assert.equal(choice.pick('linear_packed', LINEAR, DIMS, 'f32').precision, 'f32');
  assert.equal(choice.pick('linear_packed', LINEAR, DIMS, 'f16').precision, 'f16');
  assert.equal(choice.sites.size, 3);
});

test('what a component would take is no more than the caller allows', () => {
  const choice = new Choice(GPU, 'f16');
  assert.equal(choice.pick('linear_packed', LINEAR, DIMS, 'int8').precision, 'f16');
  assert.equal(choice.pick('linear_packed', LINEAR, DIMS).precision, 'f16');
  assert.equal(choice.sites.size, 1);
});
