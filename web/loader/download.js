/** One shard from the server into a draft: resumed, tried again, verified. */
import { DownloadError } from '../engine/errors.js';
import { unlessAborted } from '../engine/waiting.js';
import { storing } from './draft.js';
import { lookForUpdate, receive } from './fetching.js';

/**
 * Completes a draft. Wrong bytes may come from a cache on the way, or from ranges of something else,
 * so they are fetched once more, past it and, if they came in pieces, as a whole.
 * @param {import('./manifest.js').Shard} shard
 * @param {URL} url
 * @param {import('./draft.js').Draft} draft what it has already is not fetched again
 * @param {{ signal: AbortSignal, cache: RequestCache, hasher: import('./hash.js').Hasher,
 *   advance: (bytes: number) => void, onWait: import('./fetching.js').OnWait }} job advance is told
 *   of bytes that came, negative: that are void
 * @throws {DownloadError} the server refuses it, or the bytes are wrong twice
 */
export async function download(shard, url, draft, job) {
  const { signal, hasher, onWait } = job;
  const sink = sinkOf(shard, draft, job);
  let whole = false;
  let got;
  for (const cache of [job.cache, /** @type {const} */ ('reload')]) {
    whole = await receive(url, sink, { signal, cache, whole, onWait });
    got = sink.longer ? 'a longer file'
      : `SHA-256 ${await unlessAborted(hasher.hash(draft), signal)}`;
    if (got === `SHA-256 ${shard.sha256}`) return;
    job.advance(-draft.received);
    await storing(() => draft.restart());
  }
  await lookForUpdate(signal);
  throw new DownloadError(`${url} is damaged: got ${got}, expected SHA-256 `
    + `${shard.sha256} of ${shard.bytes} bytes. Upload the file again, or build the site again.`);
}

/**
 * What `receive` fills: the draft, whose failures are its storage's.
 * @returns {import('./fetching.js').Sink}
 */
function sinkOf({ bytes }, draft, { advance }) {
  return {
    bytes,
    get received() {
      return draft.received;
    },
    async write(piece) {
      await storing(() => draft.write(piece));
      advance(piece.length);
    },
  };
}
