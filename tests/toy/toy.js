/**
 * The toy family, as a page adds it: a denoiser of two linears between the text encoder and the
 * autoencoder that FLUX.2 has.
 *
 *   velocity = proj . latents + text_proj . (mean of the encoder's rows)
 */

class ToyTransformer {
  static LAYERS = [];

  #g;
  #weights;

  constructor(g, weights) {
    this.#g = g;
    this.#weights = weights;
  }

  /** To each token of the picture comes the one row of text: attention to it alone. */
  async prepare([{ rows, shape: [S, width] }], { grid }) {
    const g = this.#g;
    const mean = await meanRow(g, rows, S);                         // [taps * Dt]
    g.release(...rows);
    const weight = this.#weights.get('text_proj');                  // [C, taps * Dt]
    const [L, C] = [grid.height * grid.width, weight.shape[0]];
    const text = g.scope(() => {
      const row = g.linear(g.upload(mean, [1, width], 'mean of the text'), weight);
      const queries = g.upload(new Float32Array(L * C), [L, C], 'queries');
      return g.attention(queries, row, row, { headWidth: C });
    });
    return { text };                                                // [L, C]
  }

  async velocity(latents, step, { text }, { observe }) {
    const velocity = this.#g.linear(latents, this.#weights.get('proj'));
    await observe('only.0', velocity.shape, velocity);
    return this.#g.addScaled(velocity, text, 1);
  }

  release(...states) {
    this.#g.release(...states.map(({ text }) => text));
  }
}

/** Of rows that lie in tensors [S, Dt] side by side. @returns {Promise<Float32Array>} */
async function meanRow(g, tensors, S) {
  const means = [];
  for (const tensor of tensors) {
    const values = new Float32Array(await g.read(tensor));
    for (let column = 0; column < tensor.width; column++) {
      let sum = 0;
      for (let row = 0; row < S; row++) sum += values[row * tensor.width + column];
      means.push(sum / S);
    }
  }
  return Float32Array.from(means);
}

/** @param {URL} code the site's folder of code */
export async function register(code) {
  const load = (path) => import(new URL(path, code));
  const { FAMILIES } = await load('models/families.js');
  const { FlowEuler } = await load('models/samplers/flow_euler.js');
  FAMILIES.toy = {
    encoders: { text_encoder: await load('models/text_encoders/qwen3.js') },
    Denoiser: ToyTransformer,
    autoencoder: await load('models/autoencoders/kl.js'),
    samplers: { FlowMatchEulerDiscreteScheduler: FlowEuler },
  };
}
