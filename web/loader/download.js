/** One shard from the server into a draft: resumed, tried again, verified. */
import { DownloadError } from '../engine/errors.js';
import { storing } from './draft.js';
import { fetchFile } from './manifest.js';

/** So many attempts in a row that bring a shard no further are the last. */
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 1000;
const WAIT_GROWS = 4;
const LONGEST_WAIT_MS = 60_000;
const LONGEST_RETRY_AFTER_MS = 300_000; // the usual window of a rate limit

/**
 * Completes a draft. Wrong bytes may come from a cache on the way, so they are fetched once more,
 * past it.
 * @param {object} shard the manifest's
 * @param {URL} url
 * @param {object} draft what it has already is not fetched again
 * @param {{ signal: AbortSignal, cache: RequestCache, hasher: object,
 *   advance: (bytes: number) => void, onRetry: (ms: number) => void }} job advance is told of
 *   bytes that came, negative: that are void
 * @throws {DownloadError} the server refuses it, or the bytes are wrong twice
 */
export async function download(shard, url, draft, job) {
  let got;
  for (const cache of [job.cache, 'reload']) {
    const count = await receive(shard, url, draft, { ...job, cache });
    got = count === shard.bytes ? await job.hasher.hash(draft) : `${count} bytes`;
    if (got === shard.sha256) return;
    await restart(draft, job);
  }
  throw new DownloadError(`${url} is damaged: got ${got}, expected SHA-256 ${shard.sha256} of `
    + `${shard.bytes} bytes. Upload the file again, or build the site again.`);
}

async function restart(draft, { advance }) {
  advance(-draft.received);
  await storing(() => draft.restart());
}

/**
 * What the draft lacks, in as many attempts as it takes.
 * @returns {Promise<number>} bytes that the server has, if not more than announced: then any number
 *   that is larger
 */
async function receive(shard, url, draft, job) {
  let failures = 0;
  let furthest = draft.received;
  for (;;) {
    try {
      return draft.received < shard.bytes ? await attempt(shard, url, draft, job) : draft.received;
    } catch (error) {
      if (!(error instanceof DownloadError && passes(error))) throw error;
      if (error.response?.status === 416) await restart(draft, job);
      failures = draft.received > furthest ? 1 : failures + 1;
      furthest = Math.max(furthest, draft.received);
      if (failures === ATTEMPTS) {
        throw new DownloadError(`${error.message} It was tried ${ATTEMPTS} times; what has `
          + 'arrived is kept for the next time.', { cause: error });
      }
      const ms = retryAfter(error.response) ?? backoff(failures);
      job.onRetry(ms);
      await sleep(ms, job.signal);
    }
  }
}

/** A server that is busy or broken, or a connection that was lost, may be well a little later. */
function passes({ response }) {
  return !response || [408, 416, 429].includes(response.status) || response.status >= 500;
}

async function attempt(shard, url, draft, { signal, cache, advance }) {
  const response = await request(url, draft, { signal, cache, advance });
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await read(reader, url, signal);
      if (done) return draft.received;
      if (draft.received + value.length > shard.bytes) return draft.received + value.length;
      await storing(() => draft.write(value));
      advance(value.length);
    }
  } finally {
    await reader.cancel().catch(() => {}); // nothing more of it is wanted
  }
}

/**
 * A response whose body begins where the draft ends; a server that sends all has the draft begin
 * anew. A plain Range needs no preflight on other origins, not even across a redirect, and no
 * validator besides: the hash tells whether all is of one file.
 */
async function request(url, draft, { signal, cache, advance }) {
  const headers = draft.received ? { Range: `bytes=${draft.received}-` } : {};
  const response = await fetchFile(url, { headers, signal, cache });
  const start = startOf(response, draft.received);
  if (start === draft.received) return response;
  await restart(draft, { advance });
  if (response.status !== 206) return response;
  await response.body.cancel();
  throw new DownloadError(`${url} could not be fetched: asked for `
    + `${headers.Range ?? 'all bytes'}, the server sent those from ${start} on.`);
}

/** On other origins Content-Range can be unreadable; then it is what was asked for. */
function startOf(response, asked) {
  if (response.status !== 206) return 0;
  const [, first = asked] = /^bytes (\d+)-/.exec(response.headers.get('Content-Range')) ?? [];
  return Number(first);
}

async function read(reader, url, signal) {
  try {
    return await reader.read();
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new DownloadError(`${url} broke off: ${cause.message}. `
      + 'Check the connection and try again.', { cause });
  }
}

/** Milliseconds that the server asks for, in seconds or by a date; undefined where it does not. */
function retryAfter(response) {
  const value = response?.headers.get('Retry-After');
  if (!value) return undefined;
  const ms = /^\d+$/.test(value) ? 1000 * value : Date.parse(value) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS);
}

/** Spread, so that visitors whom one failure hit do not come back at once. */
function backoff(failures) {
  const most = Math.min(FIRST_WAIT_MS * WAIT_GROWS ** (failures - 1), LONGEST_WAIT_MS);
  return most * (0.5 + Math.random() / 2);
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
