/**
 * Whether what is kept is still what was downloaded. A disk that loses a byte, or a power cut that
 * leaves zeros, would change pictures without a word; so a file is hashed whole before it is first
 * used in a session, and again when its stamp (length, time of the last change) is another one. What
 * another program writes into a file and dates back while a page is open goes unnoticed.
 */
import { sha256 } from './hash.js';

/** Storage and file -> { stamp, right } as it was found last; for all loads of a page. */
const verdicts = new Map();

const keyOf = ({ kind }, file) => `${kind} ${file}`;

/**
 * @param {import('./kept.js').Home} home
 * @param {string} file
 * @returns {boolean | undefined} undefined: these bytes were not hashed yet
 */
export function isRight({ keeper, stamp }, file) {
  if (keeper.kind === 'memory') return true; // hashed when it came, and no one else can change it
  const verdict = verdicts.get(keyOf(keeper, file));
  return verdict?.stamp === stamp ? verdict.right : undefined;
}

/** A file whose hash is known: one that was downloaded a moment ago. */
export function noteVerdict({ keeper, stamp }, file, right) {
  verdicts.set(keyOf(keeper, file), { stamp, right });
}

/**
 * Hashes a file, in a buffer that the caller lends.
 * @param {import('./kept.js').Home} home
 * @param {import('./manifest.js').Shard} shard
 * @param {import('./hash.js').Room} room
 */
export async function verify(home, { file, sha256: expected }, room) {
  const { keeper } = home;
  try {
    const bytes = await keeper.contents(file, (count) => room.of(count));
    noteVerdict(home, file, await sha256(bytes) === expected);
  } catch {
    // A file that is there and cannot be read is as good as wrong.
    if (await keeper.stamp(file) !== null) noteVerdict(home, file, false);
  }
}
