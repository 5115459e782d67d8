/** Made from the JSDoc of web/ by python -m tests.types: not to be edited. */

/** The GPU failed while drawing: lost, out of memory, or a validation error. */
declare class DeviceError extends NamedError {
}

/**
 * The library's errors. Each message says what, where, what was got, what was expected and what to
 * do; the name tells a caller which of them happened. Aborts are DOMExceptions named 'AbortError',
 * as everywhere.
 */
declare class NamedError extends Error {
    constructor(message: string, options?: {
        cause?: unknown;
    });
}

/** A file could not be fetched, or its bytes are not the ones that the manifest names. */
declare class DownloadError extends NamedError {
}

/** A request that cannot be drawn: a size, a seed, a number of steps. */
declare class InputError extends NamedError {
}

/** The manifest or a tensor in it does not fit this engine. */
declare class ModelError extends NamedError {
}

type Settings = Omit<Required<Parameters<typeof loadPipeline>[1]>, 'engine' | 'model'> & {
    onWait: OnWait;
};

type OnWait = (wait: {
    retryInMs: number;
    offline?: true;
    asked?: true;
} | null) => void;

/**
 * Checks the device, then downloads the model. To pause, abort; calling it again goes on.
 * @param [options.onProgress] prepare: so many of about so many
 *   kernels are compiled; wait: for another tab that downloads; cachedBytes of the loadedBytes were
 *   on this device before; retryInMs: a file is tried again then, offline: or as soon as the network
 *   is back, asked: as the server wishes; changed: so many files here had other bytes than were
 *   downloaded, and are fetched again; notKept: what comes now is in memory only, because the disk
 *   is full or the browser refuses it
 * @param [options.precision] the least exact operands that a kernel may
 *   have, default f32; sums and everything between kernels are f32 always, and so are all operands
 *   in parts of a model that need it. The fastest kernel that is allowed is taken where it can be
 *   measured, on a CPU the least exact
 * @param [options.kernels] safe: the reference kernels alone, in f32, which need
 *   least of a device and are slower; auto takes them too where others went wrong, at load or, in
 *   this version of the browser, while drawing
 * @param [options.storage] where the files are kept; auto:
 *   the private file system (OPFS), else the Cache API, else memory; `info.storage` tells, and
 *   `info.notKept` why the last part is in memory only, if it is. What is kept is hashed at each
 *   load, beside the check of the device
 * @param [options.memoryBudget] bytes of weights that may stay on the GPU between pictures
 * @param [options.memory] small: nothing stays, and the denoiser's blocks are
 *   loaded anew in each step; slower, the same picture
 * @param [options.textTokens] what `generate` does unless told; padded:
 *   text is filled up to the model's length, as in diffusers; trimmed: only the prompt's own
 *   tokens, faster, another picture
 * @param [options.engine] auto: WebGPU; but if the site was
 *   built with --onnx, its ONNX graphs on the processor, by onnxruntime-web, where WebGPU is not,
 *   is computed on the processor itself (`inspectDevice`'s `prefer`), does not answer, or has no
 *   kernel that is right. There only `signal`, `onProgress`, `storage`, `memoryBudget` (of weights
 *   in memory) and `textTokens` mean something
 * @param [options.patienceMs] how long the browser may take to open the graphics, 15 s
 *   unless told; Infinity: for ever
 * @param [options.model] the mark of the model that the page was written for, as its
 *   data-model has it: where the site has another one by now, that is told
 * @throws {InputError | UnsupportedError | DownloadError | UpdatedError | ModelError |
 *   DOMException} the last one named AbortError
 */
declare function loadPipeline(manifestUrl: string | URL, options?: {
    signal?: AbortSignal;
    onProgress?: (progress: {
        phase: 'check' | 'prepare' | 'wait' | 'download';
        loadedBytes: number;
        totalBytes: number;
        cachedBytes: number;
        file?: string;
        retryInMs?: number;
        offline?: true;
        asked?: true;
        kernel?: number;
        kernels?: number;
        changed?: {
            files: number;
            of: number;
        };
        notKept?: 'full' | 'refused';
    }) => void;
    precision?: 'f32' | 'f16' | 'int8';
    kernels?: 'auto' | 'safe';
    storage?: 'auto' | 'opfs' | 'cache' | 'memory';
    memoryBudget?: number;
    memory?: 'auto' | 'small';
    textTokens?: 'padded' | 'trimmed';
    engine?: 'auto' | 'webgpu' | 'onnxruntime';
    patienceMs?: number;
    model?: string;
}): Promise<Pipeline>;

/** Made by `loadPipeline`. */
declare class Pipeline {
    #private;
    /**
     * What a page needs to know of the model and the device.
     */
    get info(): Info;
    /**
     * GPU memory that a picture needs, without drawing it; previews, which read the latents back, may
     * take as much more as those have (2 MB at 1024 x 1024). None where the processor draws.
     * @param request defaults as loaded, and as `generate` has them; trimmed without a
     *   prompt: the most that any prompt needs; with reference images, if weights stay, what every
     *   picture but the first needs
     * @throws {InputError} it cannot be drawn
     */
    plan(request: PlanRequest): Promise<{
        peakBytes: number;
    }>;
    /**
     * Bytes that `generate` would download before it draws: 0 for the model's own size and steps,
     * otherwise what the schedule needs besides, unless it is here already; little for the offered
     * sizes in 1 to 8 steps. Reference images need the encoder of the autoencoder. What was deleted
     * since the model was loaded counts, too.
     * @param request defaults as `generate` has them
     * @throws {InputError} the request cannot be drawn
     */
    extraBytes(request: PlanRequest): Promise<number>;
    /**
     * Draws one picture. What it needs and is not here yet, or not any more, is downloaded first;
     * what is deleted while it draws, then.
     * @param [hooks]
     *   onPreview: after every step, not where the processor draws; onTensor receives every stage's
     *   result, and with `blocks` the tokens after every block of the denoiser; it slows drawing
     * @throws {InputError | DownloadError | DeviceError | WrongResultError | DOMException} the last
     *   one named AbortError, of `signal` or of `destroy`, within one submission to the GPU or one
     *   run of a graph
     */
    generate(request: PictureRequest, { signal: asked, onProgress, ...hooks }?: {
        signal?: AbortSignal;
        onProgress?: (progress: DrawProgress) => void;
        onPreview?: (preview: Preview) => void;
        onTensor?: OnTensor;
        blocks?: boolean;
    }): Promise<Drawn>;
    /** Frees the memory, for good. What is being drawn ends in an AbortError. */
    destroy(): void;
}

type DrawProgress = {
    /**
     * download may be in
     * the middle, and tells what follows `fraction` too, as `loadPipeline` tells it
     */
    stage: 'download' | 'encode' | 'reference' | 'denoise' | 'decode';
    step: number;
    steps: number;
    /**
     * 0 .. 1
     */
    fraction: number;
    loadedBytes?: number;
    totalBytes?: number;
    /**
     * another tab downloads
     */
    otherTab?: true;
    retryInMs?: number;
    offline?: true;
    asked?: true;
    changed?: {
        files: number;
        of: number;
    };
    notKept?: 'full' | 'refused';
};

type Drawn = {
    width: number;
    height: number;
    /**
     * bytes r g b a, row by row
     */
    rgba: Uint8ClampedArray<ArrayBuffer>;
    seed: number;
    timings: {
        encodeMs: number;
        referenceMs: number;
        stepMs: number[];
        decodeMs: number;
        checkMs: number;
        totalMs: number;
    };
    /**
     * of GPU memory, at most
     */
    peakBytes: number;
    /**
     * likewise, in each stage
     */
    stageBytes: Record<string, number>;
    /**
     * of the prompt; `dropped` more
     * did not fit
     */
    tokens: {
        count: number;
        limit: number;
        dropped: number;
    };
};

type Info = {
    engine: 'webgpu' | 'onnxruntime';
    name: string;
    family: string;
    variant: string;
    pipeline: Call;
    /**
     * width and height are multiples of it
     */
    patch: number;
    precision: Precision;
    /**
     * of the download
     */
    bytes: number;
    storage: 'opfs' | 'cache' | 'memory';
    /**
     * why some of it is in memory only
     */
    notKept: 'full' | 'refused' | null;
    device: {
        vendor: string;
        architecture: string;
        description: string;
    };
    /**
     * what computes each op, and why
     */
    kernels: object[];
    /**
     * the reference kernels alone are taken
     */
    safe: boolean;
};

type Call = {
    width: number;
    height: number;
    num_inference_steps: number;
    sizes: number[][];
    prompts?: string[];
    negative_prompt?: string;
    image_input?: {
        most: number;
    };
    guidance: {
        kind: 'none' | 'embedded' | 'cfg';
        scale: number;
        negative: boolean;
    };
};

type Precision = 'f32' | 'f16' | 'int8';

type OnTensor = (name: string, tensor: {
    shape: number[];
    data: ArrayBufferView;
}) => unknown;

type PictureRequest = {
    prompt: string;
    /**
     * only where `info.pipeline.guidance` has one
     */
    negativePrompt?: string;
    /**
     * only where `info.pipeline.guidance` is of a kind
     */
    guidanceScale?: number;
    /**
     * 0 .. 2^53 - 1, default 0
     */
    seed?: number;
    /**
     * default: that of the first reference image, else the model's own
     */
    width?: number;
    /**
     * likewise
     */
    height?: number;
    /**
     * default: the model's own
     */
    steps?: number;
    /**
     * default: what was loaded
     */
    textTokens?: 'padded' | 'trimmed';
    /**
     * reference images, where `info.pipeline.image_input` is
     */
    images?: Image[];
};

type Image = {
    width: number;
    height: number;
    rgba: Uint8ClampedArray | Uint8Array;
};

type PlanRequest = {
    prompt?: string;
    negativePrompt?: string;
    guidanceScale?: number;
    width?: number;
    height?: number;
    steps?: number;
    memory?: 'auto' | 'small';
    textTokens?: 'padded' | 'trimmed';
    images?: {
        width: number;
        height: number;
    }[];
};

type Preview = {
    step: number;
    steps: number;
    width: number;
    height: number;
    /**
     * bytes r g b a, row by row
     */
    rgba: Uint8ClampedArray<ArrayBuffer>;
};

/** A developer's mistake: an op was given tensors whose shapes do not fit. */
declare class ShapeError extends NamedError {
}

/**
 * The device cannot run the engine: no WebGPU, no adapter, one that does not answer, a limit too
 * low, a kernel that does not compile or computes wrongly.
 */
declare class UnsupportedError extends NamedError {
}

/** A file is gone, for the site was replaced by another version since this page was opened. */
declare class UpdatedError extends DownloadError {
}

/**
 * The GPU computed rightly at load and does so no more: what it drew is no picture. Kernels of
 * another kind may be right: `loadPipeline`'s `kernels: 'safe'`.
 */
declare class WrongResultError extends NamedError {
}

/**
 * Frees it. A pipeline that is loaded, here or in another tab, downloads what it needs again when it
 * draws next.
 * @param [manifestUrl] of one model, of which earlier builds go too; left out: all
 *   models that any site of this origin keeps
 * @returns of files that stay, because another model has them
 * @throws {InputError} a download is going on, or the browser refuses
 * @throws {DownloadError | ModelError} as storedBytes
 */
declare function deleteModel(manifestUrl?: string | URL): Promise<{
    sharedBytes: number;
}>;

/**
 * Looks at what this browser offers, without fetching anything.
 * @param [options] how long it may take to answer; Infinity: for ever
 */
declare function inspectDevice({ patienceMs }?: {
    patienceMs?: number;
}): Promise<DeviceReport>;

type DeviceReport = {
    ok: boolean;
    /**
     * a sentence, '' when ok
     */
    reason: string;
    /**
     * likewise
     */
    remedy: string;
    /**
     * a sentence about a device that may draw wrongly, or ''
     */
    warning: string;
    /**
     * it did not answer in time and may yet
     */
    silent: boolean;
    /**
     * what draws faster here, on a site that has both
     */
    prefer: 'webgpu' | 'onnxruntime';
    adapter: AdapterInfo | null;
    features: string[];
    limits: Record<string, number>;
};

type AdapterInfo = {
    vendor: string;
    architecture: string;
    description: string;
    fallback: boolean;
    software: boolean;
    subgroupMinSize: number;
};

/**
 * @param [manifestUrl] of one model, of which earlier builds count too; left out: of
 *   all models that any site of this origin keeps
 * @returns files begun
 *   and not complete count, too; kind is the storage that has the most, null for none
 * @throws {DownloadError | ModelError} the manifest is needed and cannot be had: there are files
 *   here from before it was noted whose they are
 */
declare function storedBytes(manifestUrl?: string | URL): Promise<{
    bytes: number;
    files: number;
    kind: 'opfs' | 'cache' | null;
}>;

declare function throwIfAborted(signal: AbortSignal | undefined): void;

export {
  DeviceError, DownloadError, InputError, ModelError, ShapeError, UnsupportedError, UpdatedError,
  WrongResultError, deleteModel, inspectDevice, loadPipeline, storedBytes, throwIfAborted,
};

export type {
  AdapterInfo, Call, DeviceReport, DrawProgress, Drawn, Image, Info, NamedError, OnTensor, OnWait,
  PictureRequest, Pipeline, PlanRequest, Precision, Preview, Settings,
};
