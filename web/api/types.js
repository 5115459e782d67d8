/** What callers of a pipeline give it and get from it: types alone. */

/** @import { Image } from './reference_image.js' */

/**
 * What is drawn.
 * @typedef {object} PictureRequest
 * @property {string} prompt
 * @property {string} [negativePrompt] only where `info.pipeline.guidance` has one
 * @property {number} [guidanceScale] only where `info.pipeline.guidance` is of a kind
 * @property {number} [seed] 0 .. 2^53 - 1, default 0
 * @property {number} [width] default: that of the first reference image, else the model's own
 * @property {number} [height] likewise
 * @property {number} [steps] default: the model's own
 * @property {'padded' | 'trimmed'} [textTokens] default: what was loaded
 * @property {Image[]} [images] reference images, where `info.pipeline.image_input` is
 */

/**
 * What is asked about before it is drawn.
 * @typedef {object} PlanRequest
 * @property {string} [prompt]
 * @property {string} [negativePrompt]
 * @property {number} [guidanceScale]
 * @property {number} [width]
 * @property {number} [height]
 * @property {number} [steps]
 * @property {'auto' | 'small'} [memory]
 * @property {'padded' | 'trimmed'} [textTokens]
 * @property {{ width: number, height: number }[]} [images]
 */

/**
 * How far a picture is.
 * @typedef {object} DrawProgress
 * @property {'download' | 'encode' | 'reference' | 'denoise' | 'decode'} stage download may be in
 *   the middle, and tells what follows `fraction` too, as `loadPipeline` tells it
 * @property {number} step
 * @property {number} steps
 * @property {number} fraction 0 .. 1
 * @property {number} [loadedBytes]
 * @property {number} [totalBytes]
 * @property {true} [otherTab] another tab downloads
 * @property {number} [retryInMs]
 * @property {true} [offline]
 * @property {true} [asked]
 * @property {{ files: number, of: number }} [changed]
 * @property {'full' | 'refused'} [notKept]
 */

/**
 * What the picture is going to be, as much smaller as the model's latents are: an eighth as wide and
 * high, say, or a 32nd.
 * @typedef {object} Preview
 * @property {number} step
 * @property {number} steps
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray<ArrayBuffer>} rgba bytes r g b a, row by row
 */

/**
 * Receives a stage's result.
 * @typedef {(name: string, tensor: { shape: number[], data: ArrayBufferView }) => unknown} OnTensor
 */

/**
 * A drawn picture.
 * @typedef {object} Drawn
 * @property {number} width
 * @property {number} height
 * @property {Uint8ClampedArray<ArrayBuffer>} rgba bytes r g b a, row by row
 * @property {number} seed
 * @property {{ encodeMs: number, referenceMs: number, stepMs: number[], decodeMs: number,
 *   checkMs: number, totalMs: number }} timings
 * @property {number} peakBytes of GPU memory, at most
 * @property {Record<string, number>} stageBytes likewise, in each stage
 * @property {{ count: number, limit: number, dropped: number }} tokens of the prompt; `dropped` more
 *   did not fit
 */

/**
 * What a page needs to know of the model and the device.
 * @typedef {object} Info
 * @property {'webgpu' | 'onnxruntime'} engine
 * @property {string} name
 * @property {string} family
 * @property {string} variant
 * @property {import('../loader/manifest.js').Call} pipeline
 * @property {number} patch width and height are multiples of it
 * @property {import('../engine/candidates.js').Precision} precision
 * @property {number} bytes of the download
 * @property {'opfs' | 'cache' | 'memory'} storage
 * @property {'full' | 'refused' | null} notKept why some of it is in memory only
 * @property {{ vendor: string, architecture: string, description: string }} device
 * @property {object[]} kernels what computes each op, and why
 * @property {boolean} safe the reference kernels alone are taken
 */

export {};
