/**
 * The one registry of model families, and what the loop, the executors and a family's parts owe
 * each other. A family is its parts, by the names of the manifest; draw.js knows no more of it.
 */
import { ModelError } from '../engine/errors.js';
import * as dc from './autoencoders/dc.js';
import * as kl from './autoencoders/kl.js';
import { Flux1 } from './denoisers/flux1.js';
import { Flux2 } from './denoisers/flux2.js';
import { encodeReferences } from './denoisers/flux2_references.js';
import { Sana } from './denoisers/sana.js';
import { DpmSolver } from './samplers/dpm_solver.js';
import { FlowEuler } from './samplers/flow_euler.js';
import { Scm } from './samplers/scm.js';
import * as clip from './text_encoders/clip.js';
import * as gemma2 from './text_encoders/gemma2.js';
import * as qwen3 from './text_encoders/qwen3.js';
import * as t5 from './text_encoders/t5.js';

/** @type {Record<string, Family>} by the manifest's `family` */
export const FAMILIES = {
  flux2: {
    encoders: { text_encoder: qwen3 },
    Denoiser: Flux2,
    autoencoder: kl,
    samplers: { FlowMatchEulerDiscreteScheduler: FlowEuler },
    references: encodeReferences,
  },
  flux1: {
    encoders: { text_encoder: clip, text_encoder_2: t5 },
    Denoiser: Flux1,
    autoencoder: kl,
    samplers: { FlowMatchEulerDiscreteScheduler: FlowEuler },
  },
  sana: {
    encoders: { text_encoder: gemma2 },
    Denoiser: Sana,
    autoencoder: dc,
    samplers: {
      DPMSolverMultistepScheduler: DpmSolver,
      FlowMatchEulerDiscreteScheduler: FlowEuler,
      SCMScheduler: Scm,
    },
  },
};

/**
 * The family of a model, which has all parts that the manifest names.
 * @param {import('../loader/manifest.js').Manifest} manifest
 * @returns {Family}
 * @throws {ModelError}
 */
export function familyOf({ name, family: named, prompts, sampler }) {
  const family = FAMILIES[named];
  if (!family) {
    throw new ModelError(`${name} is of the family ${named}; this engine draws `
      + Object.keys(FAMILIES).join(', '));
  }
  if (!(sampler.class in family.samplers)) {
    throw new ModelError(`${name} is drawn by ${sampler.class}; this engine draws ${named} by `
      + Object.keys(family.samplers).join(', '));
  }
  const unknown = prompts.find(({ encoder }) => !(encoder in family.encoders));
  if (unknown) {
    throw new ModelError(`${name} has prompts for ${unknown.encoder}; ${named} has `
      + Object.keys(family.encoders).join(', '));
  }
  return family;
}

/** @typedef {import('../engine/candidates.js').Precision} Precision */

/**
 * @typedef {object} Family
 * @property {Record<string, Encoder>} encoders by component
 * @property {DenoiserClass} Denoiser of the component `transformer`
 * @property {Autoencoder} autoencoder of the component `autoencoder`
 * @property {Record<string, new (sampler: any, drawing: any) => Sampler>} samplers by the
 *   class of diffusers' scheduler
 * @property {(parts: Parts, images: ReferenceImage[], hooks: Hooks) => Promise<any[]>}
 *   [references] reference images as its denoiser takes them
 */

/**
 * What a family's parts work with on WebGPU.
 * @typedef {{ g: import('../engine/ops.js').Ops, stages: import('../engine/stages.js').Stages,
 *   files: import('../loader/tensors.js').TensorFiles,
 *   manifest: import('../loader/manifest.js').Manifest }} Parts
 */

/**
 * One text for one encoder: ids [S]; those from `valid` on are masked padding. keep: the encoder's
 * rows that go on, where not all S of them do, as runs; prefix: how many of the first ids every
 * prompt of the model has, 0 unless told.
 * @typedef {{ ids: Int32Array, valid: number, keep?: [first: number, count: number][],
 *   prefix?: number }} Tokens
 */

/**
 * What an encoder made of a text: tensors that lie side by side, [S, width] together. A family's
 * own encoder may add to it what its own denoiser takes.
 * @typedef {{ rows: any[], shape: number[] }} Encoded
 */

/**
 * @typedef {object} Encoder
 * @property {string[]} LAYERS how the names of tensors begin that come layer by layer where the
 *   weights are streamed
 * @property {Precision} [PRECISION] the least exact operands of its kernels, where a caller may
 *   allow less; absent: as the caller allows
 * @property {(g: import('../engine/ops.js').Ops, weights: import('../engine/weights.js').Weights,
 *   config: any, tokens: Tokens, options: { signal?: AbortSignal }) => Promise<Encoded>} encode
 * @property {(tokens: Tokens) => Record<string, import('./graph_values.js').GraphValue>} [feed]
 *   what its ONNX graph is fed with
 */

/**
 * What the velocities of a picture depend on. contexts: for each text, what each encoder made of
 * it, in the order of the manifest's prompts; grid: of the picture's tokens; times: the sampler's.
 * @typedef {{ contexts: Encoded[][], grid: { height: number, width: number }, references: any[],
 *   times: number[], guidanceScale: number }} Conditions
 */

/**
 * @typedef {object} DenoiserClass `new DenoiserClass(g, weights, config, schedule)` is a Denoiser
 * @property {string[]} LAYERS as an encoder's
 * @property {Precision} [PRECISION] as an encoder's
 * @property {(parts: Parts, conditions: Conditions, hooks: Hooks) => Promise<any>} [schedule]
 *   what depends on the times alone, computed before the denoiser's weights are loaded
 * @property {(encoded: Encoded[], asked: { latents: Float32Array, time: number,
 *   grid: { height: number, width: number } }) => Record<string,
 *   import('./graph_values.js').GraphValue>} [feed] what its ONNX graph is fed with
 */

/**
 * @typedef {object} Denoiser
 * @property {(encoded: Encoded[], conditions: Conditions) => any | Promise<any>}
 *   prepare what stays the same over the steps of one text; takes over the
 *   encoders' tensors
 * @property {(latents: any, step: number, state: any, hooks: Hooks) => Promise<any>}
 *   velocity [L, C], its last ops recorded, not yet run
 * @property {(...states: any[]) => void} release
 */

/**
 * @typedef {object} Autoencoder
 * @property {string[]} [LAYERS] as an encoder's; absent: the weights are there at once
 * @property {Precision} [PRECISION] as an encoder's
 * @property {(g: import('../engine/ops.js').Ops, weights: import('../engine/weights.js').Weights,
 *   config: any, latents: import('../engine/memory.js').Tensor, picture: { height: number,
 *   width: number, norm: import('../loader/tensors.js').LatentNorm,
 *   signal?: AbortSignal }) => Promise<import('../engine/pictures.js').Picture>} decode latents [L,
 *   C] of a grid -> [H, W, 3] about -1..1
 * @property {(latents: Float32Array, grid: { height: number, width: number }) => Record<string,
 *   import('./graph_values.js').GraphValue>} [feed] what its ONNX graph is fed with
 */

/**
 * Made of the manifest's sampler and { steps, tokens, executor, noise }: noise() is more of the
 * seed's, [L, C], drawn on where the last call ended.
 * @typedef {object} Sampler
 * @property {Float32Array} sigmas [steps + 1]
 * @property {number[]} times [steps], when the denoiser is asked: diffusers' timesteps
 * @property {(noise: Float32Array, shape: number[]) => Float32Array} start the first latents, [L,
 *   C], as the denoiser is given them
 * @property {(i: number, latents: any, velocity: any) => void} step in place: latents at time
 *   i become those at the next
 * @property {(i: number, latents: Float32Array, velocity: Float32Array) => Float64Array} clean what
 *   latents at time i would be without their noise
 * @property {() => void} [release] lets go of what it kept from step to step
 */

/**
 * What draw.js draws with: engine/executor.js on WebGPU, onnxruntime/executor.js on the processor.
 * Latents and velocities are of its own kind.
 * @typedef {object} Executor
 * @property {boolean} rehearsal nothing is computed, one step stands for all
 * @property {(texts: Tokens[][], hooks: Hooks) => Promise<Encoded[][]>} encode
 * @property {(images: ReferenceImage[], hooks: Hooks) => Promise<any[]>} [references]
 * @property {(values: Float32Array, shape: number[], label: string) => any} upload
 * @property {(conditions: Conditions, hooks: Hooks, work: (velocityOf: (latents: any, step:
 *   number, text: number) => Promise<any>) => Promise<void>) => Promise<void>} denoise
 * @property {(x: any, y: any, alpha: number) => void} addScaled in place: x += alpha * y
 * @property {(x: any, into: any) => void} copy
 * @property {(tensor: any) => void} release
 * @property {(tensor: any, hooks: Hooks) => Promise<void>} settle releases it and runs what was
 *   recorded
 * @property {(name: string, tensor: any, hooks: Hooks) => Promise<Float32Array>} read
 * @property {() => Promise<import('../loader/tensors.js').LatentNorm>} [latentNorm]
 * @property {(latents: any, picture: { height: number, width: number, grid: { height: number,
 *   width: number } }, hooks: Hooks) => Promise<Uint8ClampedArray>} decode to r g b a
 * @property {() => number} takeStagePeak the most GPU memory since it was asked last
 */

/**
 * read: its values, [H, W, 3] in -1..1.
 * @typedef {{ width: number, height: number, read?: () => Float32Array }} ReferenceImage
 */

/**
 * A picture's request, complete and checked. texts: for each text, its tokens for each encoder; the
 * prompt, and a second one if there is to be guidance away from that.
 * @typedef {{ texts: Tokens[][], seed: number, width: number, height: number, steps: number,
 *   guidanceScale: number, images?: ReferenceImage[] }} Drawing
 */

/**
 * @typedef {{ signal?: AbortSignal, onProgress: (progress: { stage: string, step: number,
 *   steps: number }) => void, observe: (name: string, shape: number[], result: any) => unknown,
 *   onPreview?: (preview: any) => void }} Hooks
 */
