/**
 * FLUX.2 Klein drawn from its ONNX graphs on the CPU, by onnxruntime-web: for browsers without
 * WebGPU. Schedule, noise, tokenizer and downloads are those of the WebGPU pipeline, and so is the
 * picture. Graphs: export/onnx/.
 *
 * Letters: S text tokens, L image tokens, C channels.
 */
import { InputError, throwIfAborted } from '../engine/errors.js';
import { expectFinite, expectPicture } from '../engine/sound.js';
import { anySignal } from '../engine/waiting.js';
import { makeClaim } from '../loader/claims.js';
import { sumBytes } from '../loader/manifest.js';
import { openShards } from '../loader/shards.js';
import { noiseTokens } from '../models/samplers/noise.js';
import { checkChoice, checkRequest, checkSize, checkSteps, fractionOf, TEXT_TOKENS }
  from '../api/request.js';
import { handedOver, schedule } from '../models/samplers/flow_euler.js';
import { stopwatch } from '../api/stopwatch.js';
import { PromptTokenizer } from '../api/tokenizer.js';
import { Sessions } from './sessions.js';

/** A loaded model. Made by `open`. */
export class OnnxPipeline {
  #manifest;
  #sessions;
  #store;
  #tokenizer;
  #textTokens;
  #busy = false;
  #gone = new AbortController(); // aborted by destroy()

  /**
   * Downloads graphs and tokenizer.
   * @param {object} manifest with `onnx`
   * @param {URL} url the manifest's
   * @param {object} settings `loadPipeline`'s options, complete
   */
  static async open(manifest, url, settings) {
    const { signal, onProgress, storage } = settings;
    const claim = await makeClaim(url, manifest);
    const store = await openShards(manifest.onnx.shards, url, storage, claim);
    const cachedBytes = store.keptBytes(store.first);
    const onWait = (wait) => onProgress({ phase: 'check', loadedBytes: cachedBytes,
      totalBytes: sumBytes(manifest.onnx.shards), cachedBytes, ...wait });
    onWait(null);
    try {
      const tokenizer = await PromptTokenizer.load(manifest, url, { signal, onWait });
      await store.fetch(store.first, { signal, onProgress });
      const sessions = await Sessions.open(manifest.onnx, store, url, settings.memoryBudget,
        { signal, onWait });
      throwIfAborted(signal);
      return new OnnxPipeline(manifest, store, tokenizer, sessions, settings.textTokens);
    } catch (error) {
      store.leave();
      throw error;
    }
  }

  constructor(manifest, store, tokenizer, sessions, textTokens) {
    this.#manifest = manifest;
    this.#store = store;
    this.#tokenizer = tokenizer;
    this.#sessions = sessions;
    this.#textTokens = textTokens;
  }

  /** As the WebGPU pipeline's; there is no adapter, and no kernel to choose. */
  get info() {
    const { name, family, variant, pipeline, patch, onnx } = this.#manifest;
    const { image_input: none, ...rest } = pipeline;
    const { threads } = this.#sessions;
    return {
      engine: 'onnxruntime', name, family, variant, pipeline: rest, patch, precision: 'f32',
      bytes: sumBytes(onnx.shards), storage: this.#store.kind,
      notKept: this.#store.notKept,
      device: { vendor: '', architecture: 'wasm', description:
        `onnxruntime-web ${onnx.version}, ${threads} ${threads === 1 ? 'thread' : 'threads'}` },
      kernels: [], safe: false,
    };
  }

  /** No GPU memory. @throws {InputError} the size cannot be drawn */
  async plan(request) {
    const { width, height, steps, textTokens } = this.#complete(request);
    checkSize(this.#manifest, width, height);
    checkSteps(steps);
    checkChoice('textTokens', textTokens, TEXT_TOKENS);
    return { peakBytes: 0 };
  }

  /**
   * What was deleted since the load; else nothing: the graphs compute every schedule.
   * @throws {InputError} it cannot be drawn
   */
  async extraBytes(request) {
    await this.plan(request);
    await this.#store.survey();
    return sumBytes(this.#store.missing(this.#store.first));
  }

  /**
   * As the WebGPU pipeline's, without reference images and previews; peakBytes, of GPU memory, is 0.
   * A cancel takes effect between two runs of a graph.
   */
  async generate(request, { signal: asked, onProgress = () => {}, onTensor = () => {} } = {}) {
    const drawn = this.#complete(request);
    checkRequest(this.#manifest, drawn);
    throwIfAborted(asked);
    if (this.#busy) {
      throw new InputError('A picture is being drawn already; wait for it or cancel it.');
    }
    this.#busy = true;
    const { signal, leave } = anySignal([asked, this.#gone.signal]);
    try {
      const tell = (progress) => onProgress({ fraction: fractionOf(progress), ...progress });
      await this.#ensure(drawn, { signal, tell });
      return await this.#draw(drawn, { signal, onTensor, tell });
    } finally {
      leave();
      this.#busy = false;
      if (this.#gone.signal.aborted) this.#sessions.free();
    }
  }

  /**
   * Frees the memory. The pipeline cannot be used afterwards; what it is drawing ends in an
   * AbortError.
   */
  destroy() {
    this.#gone.abort();
    this.#store.close();
    if (!this.#busy) this.#sessions.free();
  }

  /** Has the graphs here, which may have been deleted since the load. */
  async #ensure({ steps }, { signal, tell }) {
    await this.#store.ensure(this.#store.first, { signal,
      onProgress: ({ loadedBytes, totalBytes, changed, notKept }) => {
        tell({ stage: 'download', step: 0, steps, loadedBytes, totalBytes, changed, notKept });
      } });
  }

  #complete({ images = [], ...request }) {
    if (this.#gone.signal.aborted) {
      throw new InputError('This pipeline was destroyed: load the model again to draw with it.');
    }
    if (images.length) {
      throw new InputError('Reference images need WebGPU, which this browser does not offer.');
    }
    const { width: w, height: h, num_inference_steps: n } = this.#manifest.pipeline;
    const { width = w, height = h, steps = n, seed = 0 } = request;
    const { textTokens = this.#textTokens } = request;
    return { ...request, width, height, steps, seed, textTokens };
  }

  async #draw({ prompt, seed, width, height, steps, textTokens }, { signal, tell, onTensor }) {
    const { patch, pipeline, scheduler, components } = this.#manifest;
    const grid = { height: height / patch, width: width / patch };
    const L = grid.height * grid.width;
    const C = components.transformer.config.in_channels;
    const started = performance.now();
    const clock = stopwatch();
    const run = async (part, feed) => {
      await breathe();
      throwIfAborted(signal);
      return this.#sessions.run(part, feed);
    };

    // 1 prompt -> rows [1, S, taps * D]
    tell({ stage: 'encode', step: 0, steps });
    const tokens = this.#tokenizer.encode(prompt);
    const ids = textTokens === 'trimmed' ? tokens.ids.slice(0, tokens.count) : tokens.ids;
    onTensor('token_ids', { shape: [ids.length], data: ids });
    const S = ids.length;
    const mask = ids.map((_, i) => (i < tokens.count ? 1 : 0));
    const rows = await run('text_encoder', {
      input_ids: integers(ids, [1, S]), attention_mask: integers(mask, [1, S]),
    });
    onTensor('encoder_rows', { shape: rows.dims.slice(1), data: rows.data });
    const encodeMs = clock();

    // 2 noise -> latents [1, L, C]
    const latents = Float32Array.from(noiseTokens(seed, { channels: C, ...grid }));
    onTensor('noise', { shape: [L, C], data: latents.slice() });

    // 3 denoise
    const sigmas = schedule(steps, L, scheduler); // [steps + 1]
    onTensor('sigmas', { shape: [steps + 1], data: sigmas });
    const fixed = { encoder_hidden_states: rows,
      txt_ids: positions(1, 1, S), img_ids: positions(grid.height, grid.width, 1) };
    const stepMs = [];
    for (let step = 0; step < steps; step++) {
      tell({ stage: 'denoise', step, steps });
      const velocity = await run('transformer', { ...fixed,
        hidden_states: floats(latents, [1, L, C]),
        timestep: floats([handedOver(sigmas[step])], [1]) });
      onTensor(`velocity.${step}`, { shape: [L, C], data: velocity.data });
      const length = Math.fround(sigmas[step + 1] - sigmas[step]);
      for (let i = 0; i < latents.length; i++) latents[i] += length * velocity.data[i];
      stepMs.push(clock());
    }
    onTensor('latents', { shape: [L, C], data: latents });

    // 4 decode
    tell({ stage: 'decode', step: steps, steps });
    const planes = await run('vae_decoder', {
      latent_sample: floats(transposed(latents, L, C), [1, C, grid.height, grid.width]),
    });
    onTensor('decoded', { shape: [height, width, 3],
      data: transposed(planes.data, 3, width * height) });
    throwIfAborted(signal);
    const rgba = toRgba(expectFinite('colours', planes.data), width * height);
    expectPicture(rgba);
    tell({ stage: 'decode', step: steps, steps, fraction: 1 });
    const timings = { encodeMs, referenceMs: 0, stepMs, decodeMs: clock() };
    return {
      width, height, rgba, seed, peakBytes: 0,
      timings: { ...timings, totalMs: performance.now() - started },
      tokens: { count: tokens.count, limit: pipeline.max_sequence_length, dropped: tokens.dropped },
    };
  }
}

function floats(values, dims) {
  return { type: 'float32', data: Float32Array.from(values), dims };
}

function integers(values, dims) {
  return { type: 'int64', data: BigInt64Array.from(values, BigInt), dims };
}

/** (0, y, x, l) of tokens: [1, rows * columns * length, 4] */
function positions(rows, columns, length) {
  const ids = [];
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      for (let l = 0; l < length; l++) ids.push(0, y, x, l);
    }
  }
  return integers(ids, [1, rows * columns * length, 4]);
}

/** [rows, columns] -> [columns, rows] */
function transposed(values, rows, columns) {
  return Float32Array.from(values, (_, i) => values[i % rows * columns + Math.floor(i / rows)]);
}

/** Planes [3, pixels] in -1..1 -> bytes r g b a, rounded as diffusers does. */
function toRgba(planes, pixels) {
  const rgba = new Uint8ClampedArray(4 * pixels).fill(255);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = 255 * (planes[c * pixels + i] / 2 + 0.5);
  }
  return rgba;
}

/** Lets messages in, a cancel among them: a graph runs without a pause. */
function breathe() {
  return new Promise((resolve) => { setTimeout(resolve); });
}
