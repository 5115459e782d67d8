/**
 * What the bench times: the ops, as rows. Letters as in engine/ops.js. The loaded model's own rows
 * are found by model_rows.js.
 */

/**
 * An op's shapes by their letters, and what else its weight needs to be known by.
 * @typedef {{ op: string, id?: string, name?: string, [letter: string]: any }} Shape
 */

/**
 * calls: how often a picture of the model makes it; failed: why it was not timed.
 * @typedef {Shape & { id: string, section: string, label: string, calls?: number,
 *   failed?: string }} Row
 */

const TERNARY = { storage: 'ternary', group: 128, scales: 'bf16' };
const TEXT = { storage: 'affine4', group: 64, scales: 'bf16' };

const linear = (M, K, N, weight, name) => ({ op: 'linear', M, K, N, ...weight, name });
const attention = (Tq, Hq, Hkv, Dh, causal, name) => (
  { op: 'attention', Tq, Tk: Tq, Hq, Hkv, Dh, causal, name });
const conv = (side, Cin, Cout, storage, name) => (
  { op: 'conv2d', H: side, W: side, Cin, Cout, KS: 3, up: 1, storage, name });

const depthwise = (side, C, KS, name) => (
  { op: 'depthwise', H: side, W: side, C, KS, gated: KS === 3, storage: 'bf16', name });

/** The same on every page, whatever model it has. */
const HEADLINE = [
  { id: 'ternary-m256', ...linear(256, 1024, 1024, TERNARY) },
  { id: 'ternary-m1', ...linear(1, 2560, 2560, TERNARY) },
  { id: 'conv', ...conv(128, 64, 64, 'bf16') },
  { id: 'attention', ...attention(320, 4, 4, 64, false) },
];

/**
 * Bonsai Image 4B at 512 x 512: D 3072, F 9216, 24 heads of 128, 512 text and 1024 image tokens;
 * its encoder is Qwen3-4B, its decoder 512, 512, 256 and 128 channels wide.
 */
const [D, F, T, S] = [3072, 9216, 1536, 512];
const BONSAI = [
  linear(T, D, D, TERNARY, 'projection of all tokens'),
  linear(S, D, 3 * D + 2 * F, TERNARY, 'fused projection, text rows'),
  linear(448, D, F, TERNARY, 'MLP in, a chunk of rows'),
  linear(448, F, D, TERNARY, 'MLP out, a chunk of rows'),
  attention(T, 24, 24, 128, false, 'joint attention'),
  { op: 'layerNormModulate', M: T, D, name: 'modulation' },
  { op: 'rmsNorm', M: T * 24, D: 128, name: 'norm of queries' },
  linear(S, 2560, 4096, TEXT, 'encoder, queries'),
  linear(S, 2560, 9728, TEXT, 'encoder, MLP in'),
  linear(S, 9728, 2560, TEXT, 'encoder, MLP out'),
  attention(S, 32, 8, 128, true, 'encoder, attention'),
  conv(64, 512, 512, 'bf16', 'decoder'),
  conv(128, 512, 512, 'bf16', 'decoder'),
  conv(256, 256, 256, 'bf16', 'decoder'),
  conv(512, 128, 128, 'bf16', 'decoder'),
  { op: 'groupNorm', H: 256, W: 256, C: 256, groups: 32, name: 'decoder' },
];

/**
 * Sana 1.6B at 512 x 512, ternary in groups of 112: width 2240, 256 image tokens, and a
 * feed-forward of 1 x 1 convolutions, the first of which has a bias and an activation. What keeps
 * channels or heads apart at 1024 x 1024, too: 1024 tokens, and maps of its decoder, DC-AE.
 */
const SANA_TERNARY = { storage: 'ternary', group: 112, scales: 'bf16' };
const SANA = [
  linear(256, 2240, 2240, SANA_TERNARY, 'projection'),
  linear(256, 2240, 11200, { ...SANA_TERNARY, bias: true, act: 'silu' }, 'feed-forward in'),
  linear(256, 5600, 2240, SANA_TERNARY, 'feed-forward out'),
  depthwise(16, 5600, 3, 'feed-forward'),
  depthwise(32, 5600, 3, 'feed-forward'),
  { op: 'linearAttention', T: 256, H: 70, Dh: 32 },
  { op: 'linearAttention', T: 1024, H: 70, Dh: 32 },
  depthwise(32, 3072, 5, 'decoder'),
  { op: 'linearGrouped', H: 32, W: 32, C: 3072, K: 32, name: 'decoder' },
  linear(1, 256, 2240, { storage: 'bf16', bias: true, act: 'silu' }, 'time embedding'),
  { ...attention(256, 20, 20, 112, false, 'cross-attention'), Tk: 300 },
  { op: 'rmsNorm', M: 128 * 128, D: 512, bias: true, name: 'decoder' },
  { ...attention(300, 8, 4, 256, true, 'encoder, Gemma 2'), softcap: 50 },
  { op: 'rope', T: 300, H: 8, Dh: 256, halfSplit: true, name: 'encoder, Gemma 2' },
];

/** FLUX.1's encoders: T5-XXL, schnell's 256 tokens, 64 heads of 64; CLIP-L, 77, width 768. */
const FLUX1 = [
  { ...attention(256, 64, 64, 64, false, 'T5'), bias: true },
  { op: 'layerNorm', M: 77, D: 768, name: 'CLIP' },
];

const FIXED = { headline: HEADLINE, bonsai: BONSAI, sana: SANA, flux1: FLUX1 };

export const SECTIONS = ['headline', 'pipeline', 'model', 'bonsai', 'sana', 'flux1'];

/** Of those, what takes a CPU minutes. */
export const LARGE = ['bonsai', 'sana', 'flux1'];

/**
 * A row: an op's shapes, its id, and how a table calls it.
 * @param {Shape} shape
 * @param {string} section one of SECTIONS
 * @returns {Row}
 */
export function rowOf(shape, section) {
  const label = describe(shape);
  const id = shape.id ?? `${section} ${label}`.replace(/[^\w=]+/g, '-').toLowerCase();
  return { ...shape, id, section, label: shape.name ? `${label} (${shape.name})` : label };
}

/** Rows that are the same whatever model the page has, by section. */
export function fixedRows() {
  return Object.fromEntries(Object.entries(FIXED)
    .map(([section, shapes]) => [section, shapes.map((shape) => rowOf(shape, section))]));
}

/** @param {Shape} shape */
function describe(shape) {
  const { M, K, N, H, W, KS, D: width } = shape;
  switch (shape.op) {
    case 'linear': return `${shape.storage} linear M=${M} K=${K} N=${N}`
      + (shape.bias ? ' + bias' : '') + (shape.act ? `, ${shape.act}` : '');
    case 'conv2d': return `${KS}x${KS} convolution ${shape.Cin} to ${shape.Cout}, ${W}x${H}`
      + (shape.up > 1 ? `, enlarged ${shape.up}x` : '');
    case 'attention': return `attention ${shape.Tq} tokens`
      + (shape.Tk === shape.Tq ? '' : ` to ${shape.Tk}`) + `, ${shape.Hq} heads of ${shape.Dh}`
      + (shape.causal ? ', causal' : '') + (shape.softcap ? `, capped at ${shape.softcap}` : '')
      + (shape.bias ? ' + bias' : '');
    case 'depthwise': return `${KS}x${KS} depth-wise convolution of `
      + `${shape.gated ? `2 x ${shape.C}, gated` : shape.C}, ${W}x${H}`;
    case 'linearGrouped': return `1x1 convolution in groups of ${K}, ${shape.C} channels, ${W}x${H}`;
    case 'linearAttention': return `linear attention ${shape.T} tokens, ${H} heads of ${shape.Dh}`;
    case 'groupNorm': return `group norm ${shape.C} channels, ${W}x${H}`;
    case 'rmsNorm': return `RMS norm ${M} x ${width}` + (shape.bias ? ' + bias' : '');
    case 'layerNorm': return `layer norm ${M} x ${width}`;
    case 'rope': return `rope ${shape.T} tokens, ${shape.H} heads of ${shape.Dh}`
      + (shape.halfSplit ? ', halves' : '');
    default: return `modulated layer norm ${M} x ${width}`;
  }
}
