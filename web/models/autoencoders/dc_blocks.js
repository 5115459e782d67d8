/**
 * What AutoencoderDC's decoder is made of.
 * Reference: diffusers' autoencoder_dc.py, SanaMultiscaleLinearAttention and GLUMBConv.
 */

const EPS = 1e-5; // of every norm in diffusers' decoder
const EXPANSION = 4; // of a pixel's MLP

/** @typedef {import('../../engine/pictures.js').Picture} Picture */
/** @typedef {import('../../engine/rows.js').Rows} Rows */

export class DcBlocks {
  #g;
  #weights;
  #config;
  #zeros; // the bias of what has none

  /**
   * @param {import('../../engine/ops.js').Ops} g
   * @param {import('../../engine/weights.js').Weights} weights
   * @param {Record<string, any>} config the manifest's autoencoder configuration
   */
  constructor(g, weights, config) {
    this.#g = g;
    this.#weights = weights;
    this.#config = config;
    const widest = Math.max(3, ...config.block_out_channels);
    this.#zeros = g.upload(new Float32Array(widest), [widest], 'no bias');
  }

  /** A convolution by its name, as `g.conv2dRows` takes it. */
  #conv(name, options) {
    const bias = this.#weights.has(`${name}.bias`) ? this.#weights.vector(`${name}.bias`)
      : this.#zeros;
    return { weight: this.#weights.get(`${name}.weight`), bias, ...options };
  }

  #norm(name) {
    return { weight: this.#weights.vector(`${name}.weight`),
      bias: this.#weights.vector(`${name}.bias`), eps: EPS };
  }

  /**
   * Latents to the widest channels, plus each latent channel repeated.
   * @param {import('../../engine/memory.js').Tensor} z [H, W, C]
   * @returns {Picture}
   */
  enter(z) {
    const g = this.#g;
    const [H, W] = z.shape;
    const { block_out_channels: channels, in_shortcut: shortcut } = this.#config;
    const conv = this.#conv('decoder.conv_in', { add: shortcut });
    const options = { shape: [H, W, channels.at(-1)], label: 'conv_in', halo: 1, last: true };
    return g.inRows(z, options, ({ window, first, count, y, at }) => {
      const place = { first, count, into: y, at };
      if (shortcut) g.pixelShuffle(window, { up: 1, ...place });
      g.conv2dRows(window, conv, place);
    });
  }

  /**
   * Twice as high and wide: a convolution, plus the pixels' own channels, repeated and shuffled. x
   * is gone afterwards.
   * @param {Picture} x
   * @param {string} name of the convolution
   * @param {number} channels
   * @returns {Picture}
   */
  grow(x, name, channels) {
    const shape = [2 * x.shape[0], 2 * x.shape[1], channels];
    return this.#g.inRows(x, { shape, label: name, up: 2, halo: 1, last: true }, (rows) => {
      const { window, first, count, y, at } = rows;
      this.#g.pixelShuffle(window, { up: 2, first, count, into: y, at });
      this.#enlarge(window, name, rows, true);
    });
  }

  /** Rows of a convolution to twice the size, one way or the other. */
  #enlarge(window, name, { first, count, y, at }, add) {
    const g = this.#g;
    if (this.#config.upsample_block_type === 'interpolate') {
      g.conv2dRows(window, this.#conv(name, { up: 2, add }), { first, count, into: y, at });
      return;
    }
    const top = first >> 1;
    const parts = g.conv2dRows(window, this.#conv(name), { first: top,
      count: (first + count + 1 >> 1) - top });                                // 4 * channels
    g.pixelShuffle(parts, { up: 2, first: first - 2 * top, count, into: y, at, add });
  }

  /** A block by its name. x is gone afterwards. @param {Picture} x @returns {Picture} */
  block(x, name, stage) {
    const { block_types: types, act_fns: acts, qkv_multiscales: scales } = this.#config;
    if (types[stage] === 'ResBlock') return this.#resBlock(x, name, acts[stage]);
    return this.#glumbConv(this.#attention(x, `${name}.attn`, scales[stage]), `${name}.conv_out`);
  }

  /** x + norm(conv2(act(conv1(x)))) */
  #resBlock(x, name, act) {
    const g = this.#g;
    return g.residual(x, { norm: this.#norm(`${name}.norm`), halo: 2 }, (rows) => {
      const { from, past } = widened(rows);
      const h = g.conv2dRows(rows.window, this.#conv(`${name}.conv1`),
        { first: from, count: past - from });
      if (act) g[act](h);
      return g.conv2dRows(h, this.#conv(`${name}.conv2`),
        { first: rows.first - from, count: rows.count });
    });
  }

  /** x + norm(point(a * silu(b))), [a, b] = depth(silu(inverted(x))) */
  #glumbConv(x, name) {
    const g = this.#g;
    const [, W, C] = x.shape;
    const most = g.rowsAtOnce(W, EXPANSION * C); // of half the middle: both are there at once
    const depth = this.#conv(`${name}.conv_depth`);
    return g.residual(x, { norm: this.#norm(`${name}.norm`), halo: 1, most }, (rows) => {
      const { from, past } = widened(rows);
      const middle = g.silu(g.conv2dRows(rows.window, this.#conv(`${name}.conv_inverted`),
        { first: from, count: past - from }));
      const gated = g.depthwise(middle, depth.weight,
        { bias: depth.bias, gated: true, row0: rows.first - from, rows: rows.count });
      return g.conv2dRows(gated, this.#conv(`${name}.conv_point`),
        { first: 0, count: rows.count });
    });
  }

  /**
   * x + norm(to_out(linear attention)) of queries, keys and values as they are, and once more for
   * each scale as a convolution makes them.
   *
   * Channels are grouped as diffusers' reshape groups them: group j is channels 3 * Dh * j and on
   * of [q | k | v], whichever of the three they come from, and calls its thirds query, key and
   * value.
   */
  #attention(x, name, scales) {
    const g = this.#g;
    const [, W] = x.shape;
    const Dh = this.#config.attention_head_dim;
    const qkv = this.#queriesKeysValues(x, name);
    const streams = [qkv, ...scales.map((size, s) => (
      this.#scale(qkv, `${name}.to_qkv_multiscale.${s}`, size)))];
    const inner = qkv.shape[2] / 3;
    const heads = { headWidth: Dh, step: 3 * Dh, at: [0, Dh, 2 * Dh] };
    const pixels = (strip) => strip.reshape(strip.count / (3 * inner), 3 * inner);
    const sums = streams.map(({ tensors }) => (
      g.linearAttentionSums(tensors.map((strip) => [pixels(strip), pixels(strip)]), heads)));
    const toOut = this.#weights.get(`${name}.to_out`);
    const norm = this.#norm(`${name}.norm_out`);
    const y = g.residual(x, { norm, height: qkv.height }, ({ row, count }) => {
      const out = g.empty([count * W, toOut.shape[0]], toOut.label);
      streams.forEach(({ tensors, height }, s) => g.scope(() => {
        const mixed = g.linearAttentionOf(pixels(tensors[row / height]), sums[s], heads);
        g.linear(mixed, toOut, { columns: [s * inner, inner], into: out, add: s > 0 });
      }));
      return out.reshape(count, W, toOut.shape[0]);
    });
    g.release(...sums, ...streams.flatMap(({ tensors }) => tensors));
    return y;
  }

  /** [q | k | v] of each pixel: [H, W, 3 * inner]. */
  #queriesKeysValues(x, name) {
    const g = this.#g;
    const [H, W] = x.shape;
    const weights = ['to_q', 'to_k', 'to_v'].map((part) => this.#weights.get(`${name}.${part}`));
    const inner = weights[0].shape[0];
    const options = { shape: [H, W, 3 * inner], label: `${name} q, k, v` };
    return g.inRows(x, options, ({ window, first, count, y, at }) => {
      weights.forEach((weight, i) => g.scope(() => {
        const part = g.conv2dRows(window, { weight, bias: this.#zeros }, { first, count });
        g.placeChannels(part, { into: y, at, channel: i * inner });
      }));
    });
  }

  /** What a depth-wise and a grouped convolution make of them. */
  #scale(qkv, name, size) {
    const g = this.#g;
    const options = { shape: qkv.shape, label: name, halo: size >> 1 };
    return g.inRows(qkv, options, ({ window, first, count, y, at }) => {
      const filtered = g.depthwise(window, this.#weights.get(`${name}.proj_in`),
        { row0: first, rows: count });
      g.linearGrouped(filtered, this.#weights.vector(`${name}.proj_out.weight`), { into: y, at });
    });
  }

  /**
   * The picture: norm, activation, convolution to colours. x is gone afterwards.
   * @param {Picture} x
   * @param {boolean} grows whether it is twice as large
   * @returns {import('../../engine/memory.js').Tensor} [H, W, 3]
   */
  leave(x, grows) {
    const g = this.#g;
    const up = grows ? 2 : 1;
    const [H, W] = x.shape;
    const pixels = g.empty([up * H, up * W, 3], 'pixels');
    const norm = this.#norm('decoder.norm_out');
    const options = { shape: pixels.shape, label: 'pixels', into: pixels, up, halo: 1, last: true,
      most: up * g.rowsAtOnce(W, x.shape[2]) };
    g.inRows(x, options, (rows) => {
      const { window, first, count, at } = rows;
      const into = g.empty(window.shape, norm.weight.label);
      const normed = g.rmsNormPixels(window, norm, { into, act: this.#config.conv_act_fn });
      if (grows) this.#enlarge(normed, 'decoder.conv_out.conv', rows, false);
      else g.conv2dRows(normed, this.#conv('decoder.conv_out'), { first, count, into: pixels, at });
    });
    return pixels;
  }
}

/** The rows of a window that a 3x3 convolution reads for these. @param {Rows} rows */
function widened({ window, first, count }) {
  return { from: Math.max(0, first - 1), past: Math.min(window.shape[0], first + count + 1) };
}
