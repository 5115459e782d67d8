/** What a server's answer is: the file, a part of it, a refusal, or something in its place. */
import { kindOfStatus, retryAfterMs } from './patience.js';

/** Why an attempt brought a file no further: `kind` and what patience.js wants to know besides. */
export class Failure extends Error {
  /** @type {number | undefined} */
  status;
  /** @type {number | undefined} */
  retryAfterMs;

  /**
   * @param {string} kind
   * @param {Partial<import('./patience.js').Facts> & { status?: number, cause?: unknown }} [facts]
   */
  constructor(kind, facts = {}) {
    super(kind);
    this.kind = kind;
    Object.assign(this, facts);
  }
}

/**
 * Where the body of a response lies in the file. Headers can be unreadable on other origins: then
 * an answer is taken for what was asked for, and the hash tells.
 * @param {Response} response
 * @param {{ asked: number, bytes?: number }} request asked: first byte that was asked for, by Range
 *   unless 0; bytes: of the whole file, where they are known
 * @returns {{ start: number, end?: number, longer?: boolean }} end: where the body is said to end,
 *   exclusive; longer: the server has more than the file should have
 * @throws {Failure} nothing of it is of use
 */
export function placeOf(response, { asked, bytes }) {
  const { status, headers } = response;
  if (!response.ok) throw refusal(response, asked > 0);
  if (status !== 206) {
    const told = isPacked(headers) ? 0 : Number(headers.get('Content-Length'));
    return { start: 0, longer: told > bytes };
  }
  if (/^multipart\//i.test(headers.get('Content-Type') ?? '') || isPacked(headers)) {
    throw new Failure('range', { useless: true });
  }
  const [, first, last, total] = /^\s*bytes (\d+)-(\d+)\/(\d+|\*)/i
    .exec(headers.get('Content-Range') ?? '') ?? [];
  if (first === undefined) return { start: asked };
  if (bytes !== undefined && total !== '*' && Number(total) !== bytes) {
    throw new Failure('range', { useless: true }); // of the packed file, or of another one
  }
  if (Number(first) > asked) throw new Failure('range');
  return { start: Number(first), end: Number(last) + 1 };
}

/** A range of a file that the server packs is one of the packed bytes. */
function isPacked(headers) {
  return !['', 'identity'].includes(headers.get('Content-Encoding')?.trim().toLowerCase() ?? '');
}

function refusal({ status, headers }, ranged) {
  if (status === 416 && ranged) return new Failure('range', { status, useless: true });
  const asked = retryAfterMs(headers.get('Retry-After'));
  return new Failure(kindOfStatus(status), { status, retryAfterMs: asked });
}

/** Of text that the server may send in place of any file: hosts of single-page apps, portals. */
const MARKUP = /^<(!doctype|html|head|body|title|meta|script|\?xml|error|!--)/i;

/**
 * @param {Uint8Array} bytes the file's first ones
 * @param {Response} response
 * @param {boolean} [noMarkup] the file never begins with `<`
 * @returns {boolean} a page of HTML or XML came in place of the file
 */
export function isPage(bytes, { headers }, noMarkup) {
  const text = String.fromCharCode(...bytes.subarray(0, 80))
    .replace(/^\xef\xbb\xbf/, '').trimStart();
  if (!text.startsWith('<')) return false;
  return noMarkup || MARKUP.test(text) || /html|xml/i.test(headers.get('Content-Type') ?? '');
}

/**
 * The sentence in which a file is given up.
 * @param {URL | string} url
 * @param {Failure} failure the last one
 * @param {{ stop: string, tries: number, received: number, bytes?: number, now?: number }} got
 *   stop: patience's; received of bytes are kept, where anything of such a file is
 */
export function sentenceOf(url, failure, { stop, tries, received, bytes, now = Date.now() }) {
  const { status, retryAfterMs: askedMs } = failure;
  const failed = `${url} could not be fetched: `;
  const kept = bytes === undefined ? '' : ' What has arrived is kept for the next time.';
  if (stop === 'asked') {
    return `${failed}the server answered ${status} and asks to wait until `
      + `${clock(now + askedMs, now)}.${kept} Go on after that time.`;
  }
  const tried = `It was tried ${tries} times.${kept}`;
  switch (failure.kind) {
    case 'offline': return `${failed}the network is away. Check the connection and try again.`;
    case 'missing': return `${failed}the server answered ${status}: the file is not there. Reload `
      + 'the page; if it stays missing, the site has to be uploaded again.';
    case 'refused': return `${failed}${refusedText(status)} ${tried}`;
    case 'busy': return `${failed}the server answered ${status}. ${tried} Try again later.`;
    case 'page': return `The server sent a web page in place of ${url}: it is missing there, or `
      + 'the host rewrites addresses. Upload the file again, or have the host answer 404 where a file '
      + 'is missing.';
    case 'redirected': return `${failed}the server redirects the address, in a circle or to where `
      + 'no answer comes from. Mend the redirect on the host, or try again later.';
    case 'stalled': return `${url} broke off: nothing came any more though the connection stayed. `
      + `${tried} Check the connection and try again.`;
    case 'ended': return `${url} ends early: ${received} bytes came`
      + `${bytes === undefined ? '' : ` of ${bytes}`}, and then the end. ${tried} Upload the file `
      + 'again, or try again later.';
    case 'range': return `${url} could not be fetched from byte ${received} on: the server sent `
      + `something else. ${tried} Try again later.`;
    case 'spoilt': return `${url} ${/** @type {Error} */ (failure.cause).message}. It was `
      + `fetched ${tries} times. Upload the file again, or build the site again.`;
    case 'broken': return `${url} broke off, again and again. ${tried} Check the connection and `
      + 'try again.';
    default: return `${failed}no answer came. ${tried} Check the connection and try again; a host `
      + 'of its own for the weights must let this page read them (CORS).';
  }
}

function refusedText(status) {
  return status === 401 || status === 403
    ? `the server refuses it (${status}): the address may have expired, or it needs a permission. `
      + 'Reload the page; if that does not help, look at who may read the files on the host.'
    : `the server answered ${status}. Reload the page, or try again later.`;
}

/** @returns {string} the time of day, and where it is another day than `now`, the date too */
function clock(ms, now) {
  const date = new Date(ms);
  const two = (number) => String(number).padStart(2, '0');
  const time = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (date.toDateString() === new Date(now).toDateString()) return time;
  return `${time} on ${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
