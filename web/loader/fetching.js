/**
 * The one way in which a file of the site comes: shards, kernels, manifests, tokenizers, graphs. Its
 * patience is the same for all of them (patience.js); what differs is the sink that takes the bytes:
 *
 *   received      bytes that it has, from the file's start on
 *   bytes         of the whole file; undefined: not known, and then nothing is fetched by Range
 *   write(bytes)  appends; its own errors end the fetch
 *   restart()     forgets them
 *   longer        set: the server has more than `bytes`, so it is another file or a damaged one
 *   noMarkup      the file never begins with `<`
 */
import { DownloadError, throwIfAborted } from '../engine/errors.js';
import { Failure, isPage, placeOf, sentenceOf } from './answers.js';
import { FRESH, LIMITS, afterFailure, triesSo } from './patience.js';
import { isForeign, whyUnreachable } from './reach.js';
import { throwIfUpdated } from './updated.js';
import { Watch, sleep } from './waiting.js';

/**
 * @typedef {object} Sink
 * @property {number} received
 * @property {number} [bytes]
 * @property {(bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>} write
 * @property {() => void} [restart] needed where `bytes` is not known, and so is `finish`
 * @property {() => void} [finish]
 * @property {boolean} [longer]
 * @property {boolean} [noMarkup]
 */

/**
 * What comes with a fetch.
 * @typedef {object} Job
 * @property {AbortSignal} [signal]
 * @property {RequestCache} [cache] of the first attempt; later ones go past the caches
 * @property {boolean} [whole] no Range, whatever the sink has
 * @property {boolean} [untilOnline] wait for the network where it is away; otherwise give up
 * @property {OnWait} [onWait]
 */

/**
 * Told before a wait, and, with null, after it; offline: it ends when the network is back; asked:
 * the server asks for it.
 * @typedef {(wait: { retryInMs: number, offline?: true, asked?: true } | null) => void} OnWait
 */

/** These may mean that the site is another one by now. */
const ASKS_FOR_UPDATE = ['missing', 'page', 'spoilt'];

/**
 * Completes a sink, in as many attempts as it takes. Each asks the address itself anew, never where
 * it redirected to before: signed addresses expire.
 * @param {URL | string} url
 * @param {Sink} sink
 * @param {Job} [job]
 * @returns {Promise<boolean>} the bytes came in more than one piece
 * @throws {DownloadError | DOMException} `cause` is the last failure
 */
export async function receive(url, sink, job = {}) {
  const { signal, whole = false, untilOnline = true, onWait = () => {} } = job;
  let history = { ...FRESH, useless: whole };
  let { cache } = job;
  let pieces = sink.received ? 1 : 0;
  while (!(sink.received === sink.bytes)) {
    const before = sink.received;
    const ranged = before > 0 && !history.whole && !history.useless;
    try {
      pieces += 1;
      await attempt(url, sink, { signal, cache, ranged });
      break;
    } catch (failure) {
      throwIfAborted(signal);
      if (!(failure instanceof Failure)) throw failure;
      if (sink.bytes === undefined) sink.restart();
      const came = Math.max(sink.received - before, 0);
      const step = afterFailure(history,
        { ...failure, ranged, came, foreign: isForeign(url) });
      const offline = failure.kind === 'offline';
      if (step.stop || (offline && !untilOnline)) await giveUp(url, sink, failure, step, signal);
      history = step.history;
      if (cache !== 'no-store') cache = 'reload';
      await pause(step, offline, signal, onWait);
    }
  }
  return pieces > 1;
}

/**
 * @param {URL | string} url
 * @param {Sink} sink
 * @param {Failure} failure the last one
 * @param {ReturnType<typeof afterFailure>} step
 * @param {AbortSignal} [signal]
 * @returns {Promise<never>}
 */
async function giveUp(url, sink, failure, { stop, history }, signal) {
  if (ASKS_FOR_UPDATE.includes(failure.kind)) await lookForUpdate(signal);
  const { received, bytes } = sink;
  throw new DownloadError(sentenceOf(url, failure,
    { stop, tries: triesSo(history), received, bytes }), { cause: failure });
}

/** @throws {UpdatedError | DOMException} the site is another one by now */
export async function lookForUpdate(signal) {
  const watch = new Watch(signal, LIMITS.stall);
  try {
    await watch.next(throwIfUpdated(watch.signal));
  } catch (error) {
    if (!watch.stalled) throw error; // otherwise it cannot be found out
  } finally {
    watch.end();
  }
}

async function pause({ waitMs, asked }, offline, signal, onWait) {
  if (!waitMs && !asked) return;
  onWait({ retryInMs: waitMs, ...(offline && { offline }), ...(asked && { asked }) });
  await sleep(waitMs, signal, { untilOnline: offline });
  onWait(null);
}

/** @throws {Failure} the sink has what came of the file */
async function attempt(url, sink, { signal, cache, ranged }) {
  const watch = new Watch(signal, LIMITS.stall);
  try {
    const headers = ranged ? { Range: `bytes=${sink.received}-` } : {};
    const response = await ask(url, { headers, cache }, watch, signal);
    const place = placeOf(response, { asked: ranged ? sink.received : 0, bytes: sink.bytes });
    const body = response.body?.getReader();
    sink.longer = Boolean(place.longer);
    let at = place.start; // of the next byte, in the file
    for (;;) {
      const { done, value } = body ? await piece(body, watch) : { done: true };
      if (done) break;
      if (at === 0 && isPage(value, response, sink.noMarkup)) throw new Failure('page');
      // What a server sends again though it is here already is passed over.
      const fresh = value.subarray(Math.max(sink.received - at, 0));
      at += value.length;
      if (!await take(sink, fresh)) continue;
      if (!sink.longer) await end(body, watch);
      return;
    }
    if (sink.bytes === undefined) sink.finish();
    else throw new Failure('ended', { fulfilled: at === place.end });
  } finally {
    watch.end();
  }
}

async function ask(url, options, watch, signal) {
  try {
    return await watch.next(fetch(url, { ...options, signal: watch.signal }));
  } catch (cause) {
    if (watch.stalled) throw new Failure('stalled', { cause });
    throwIfAborted(signal);
    throw new Failure(await whyUnreachable(url, signal), { cause });
  }
}

async function piece(body, watch) {
  try {
    return await watch.next(body.read());
  } catch (cause) {
    if (watch.stalled) throw new Failure('stalled', { cause });
    throw new Failure('broken', { cause });
  }
}

/** Sees the end of a body that is whole: a browser's cache keeps none that is left before. */
async function end(body, watch) {
  try {
    await piece(body, watch);
  } catch {} // nothing is missing
}

/** @returns {Promise<boolean>} whether the file is complete; what a server sends beyond is cut */
async function take(sink, bytes) {
  const most = sink.bytes === undefined ? bytes.length : sink.bytes - sink.received;
  if (bytes.length) await sink.write(bytes.subarray(0, most));
  return sink.received === sink.bytes;
}

/** Takes a whole file of unknown length, for `read`. */
class WholeSink {
  bytes = undefined;
  noMarkup = true;
  received = 0;
  value = undefined;
  #pieces = [];
  #read;

  constructor(read) {
    this.#read = read;
  }

  write(bytes) {
    this.#pieces.push(bytes);
    this.received += bytes.length;
  }

  restart() {
    this.#pieces = [];
    this.received = 0;
  }

  finish() {
    const bytes = new Uint8Array(this.received);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    try {
      this.value = this.#read(bytes);
    } catch (cause) {
      throw new Failure('spoilt', { cause });
    }
  }
}

/**
 * @template T
 * @param {URL | string} url of a file that is no markup
 * @param {Job} [job]
 * @param {(bytes: Uint8Array<ArrayBuffer>) => T} [read] what it throws, "is no such thing: ...",
 *   is put behind the file's name once it has been fetched a few times
 * @returns {Promise<T>}
 * @throws {DownloadError | DOMException}
 */
export async function fetchBytes(url, job, read = /** @type {any} */ ((bytes) => bytes)) {
  const sink = new WholeSink(read);
  await receive(url, sink, job);
  return sink.value;
}

/**
 * The same of text.
 * @template T
 * @param {URL | string} url
 * @param {Job} [job]
 * @param {(text: string) => T} [read]
 * @returns {Promise<T>}
 */
export function fetchText(url, job, read = /** @type {any} */ ((text) => text)) {
  return fetchBytes(url, job, (bytes) => read(new TextDecoder().decode(bytes)));
}

/**
 * JSON, whose name does not change when its content does: caches are to ask whether it is new.
 * @param {URL | string} url
 * @param {Job} [job]
 * @returns {Promise<any>}
 */
export function fetchJson(url, job) {
  return fetchText(url, { cache: 'no-cache', ...job }, (text) => {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new Error(`is not JSON: ${cause.message}`, { cause });
    }
  });
}
