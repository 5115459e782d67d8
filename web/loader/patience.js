/**
 * What is done about a file that did not come: pure decisions, the same for every kind of file.
 *
 * A failure is { kind, ranged, came, retryAfterMs?, useless?, fulfilled?, foreign? }:
 *   kind          one of KINDS
 *   ranged        the file was asked for from somewhere on, by Range
 *   came          bytes of it that this attempt brought
 *   retryAfterMs  the server asks to wait so long
 *   useless       a Range of this file can never be right
 *   fulfilled     all came that the answer had announced: a server that sends in pieces
 *   foreign       the file lies on another origin than the page
 */

/** Times in milliseconds. Tests shorten them. */
export const LIMITS = {
  stall: 30_000, // without a byte, or without an answer
  firstWait: 1000,
  longestWait: 60_000,
  longestAsked: 120_000, // the longest wait that a server may ask for
  offlineWait: 5000, // between two looks whether the network is back
};

/** tries: attempts that end so and bring the file no further; then it is given up. */
const PATIENT = { tries: 5, first: 1, grows: 4 };
const QUICK = { tries: 4, first: 0.5, grows: 2 };
export const KINDS = {
  busy: PATIENT, // 408, 425, 429, 5xx
  unreachable: PATIENT, // no answer, though the page's own server gives one
  stalled: PATIENT,
  broken: PATIENT, // the connection, within the body
  ended: PATIENT, // the body, before all of the file was there
  range: PATIENT, // the answer is not what lies at the range
  refused: QUICK, // any other status
  missing: { ...QUICK, tries: 3 }, // 404, 410
  page: { ...QUICK, tries: 2 }, // a web page in place of the file
  spoilt: QUICK, // bytes that cannot be what the file holds: it may have ended early
  redirected: { tries: 2, first: 20, grows: 1 }, // and then no answer: perhaps in a circle
};

/** So many failures of a Range in a row, and the whole file is asked for. */
const RANGE_TRIES = 2;

/** Pieces of this size may follow each other at once. */
const PIECE = 1 << 16;

/** Before the first attempt, and when the file has got further. failures: by kind. */
/** @type {History} */
export const FRESH = { failures: {}, offline: 0, ranges: 0, whole: false, useless: false };

/** @typedef {{ failures: Record<string, number>, offline: number, ranges: number, whole: boolean,
 *   useless: boolean }} History */

/**
 * What is to be known of a failure.
 * @typedef {object} Facts
 * @property {string} kind one of KINDS, or 'offline'
 * @property {boolean} [ranged] it was asked for by Range
 * @property {number} [came] bytes that the attempt brought
 * @property {boolean} [fulfilled] all that the answer said it would bring
 * @property {boolean} [useless] Ranges of this file are of no use
 * @property {boolean} [foreign] the address is on another origin
 * @property {number} [retryAfterMs] what the server asked for
 */

/** @returns {number} how often the file was tried since it has got further */
export function triesSo({ failures }) {
  return Object.values(failures).reduce((sum, count) => sum + count, 0);
}

/**
 * @param {History} history what the last call returned as such
 * @param {Facts} failure
 * @param {() => number} [random] 0 to 1: visitors whom one failure hit do not come back at once
 * @returns {{ history: History, waitMs: number, asked: boolean, stop?: 'tried' | 'asked' }} asked:
 *   the wait is the server's wish; stop: the file is given up, as it was tried often enough or as
 *   the server asks for a wait that is too long
 */
export function afterFailure(history, failure, random = Math.random) {
  const { kind, ranged, came, fulfilled, retryAfterMs: askedMs } = failure;
  const before = came > 0 ? { ...FRESH, useless: history.useless } : history;
  if (kind === 'offline') return untilOnline(before);
  if (kind === 'ended' && came > 0 && (fulfilled || came >= PIECE)) return again(before, 0);
  const whole = withoutRange(before, failure);
  if (whole) return again(whole, 0);

  const count = (before.failures[kind] ?? 0) + 1;
  const failures = { ...before.failures, [kind]: count };
  const ranges = before.ranges + (ranged && !came ? 1 : 0);
  const step = { history: { ...before, failures, ranges, offline: 0 }, waitMs: askedMs,
    asked: askedMs !== undefined };
  if (askedMs > LIMITS.longestAsked) return { ...step, stop: 'asked' };
  step.waitMs ??= backoff(KINDS[kind], count, random);
  return count < triesOf(failure) ? step : { ...step, stop: 'tried' };
}

const again = (history, waitMs) => ({ history, waitMs, asked: false });

/** A network that is away is no failure of the file's: nothing is given up. */
function untilOnline(history) {
  const offline = history.offline + 1;
  const waitMs = Math.min(LIMITS.firstWait * 2 ** (offline - 1), LIMITS.offlineWait);
  return again({ ...history, offline }, waitMs);
}

/**
 * The history with which the whole file is asked for; null where a Range may still do.
 * @param {History} history
 * @param {Facts} failure
 */
function withoutRange(history, { ranged, came, kind, useless, retryAfterMs }) {
  if (!ranged) return null;
  if (useless) return { ...FRESH, useless: true };
  const blamed = !came && retryAfterMs === undefined && !['redirected', 'page'].includes(kind);
  return blamed && history.ranges + 1 >= RANGE_TRIES ? { ...FRESH, whole: true } : null;
}

/**
 * A redirect on the page's own origin that leads nowhere is a mistake of the host's.
 * @param {Facts} failure
 */
function triesOf({ kind, foreign }) {
  return kind === 'redirected' && !foreign ? 1 : KINDS[kind].tries;
}

function backoff({ first, grows }, failures, random) {
  const most = Math.min(LIMITS.firstWait * first * grows ** (failures - 1), LIMITS.longestWait);
  return most * (0.5 + random() / 2);
}

/** @returns {number | undefined} milliseconds that a Retry-After of seconds or a date asks for */
export function retryAfterMs(value, now = Date.now()) {
  if (!value) return undefined;
  const ms = /^\s*\d+\s*$/.test(value) ? 1000 * Number(value) : Date.parse(value) - now;
  return Number.isNaN(ms) ? undefined : Math.max(ms, 0);
}

/** The kind of failure that a status which is not ok stands for. */
export function kindOfStatus(status) {
  if (status === 404 || status === 410) return 'missing';
  return [408, 425, 429].includes(status) || status >= 500 ? 'busy' : 'refused';
}
