/**
 * A BPE whose merges follow from its tokens (export/prompts/pieces.py): any two neighbours that
 * together are a token may become it. The lowest id goes first, of its ways the one with the
 * longest left half; `tied` tokens go before all others, by the lengths of both halves. A letter
 * that is no token is written as its bytes', which merge with nothing.
 *
 * 256,000 tokens as strings of a Map take 40 MB and more, so they stay one run of bytes: token i
 * lies at starts[i], and slots is a hash table of ids, -1 where free.
 */

const MOST_TOKENS = 2 ** 24;
const MOST_LETTERS = 2 ** 12; // of a token, each half of it
const SEPARATOR = 0x20; // no token holds a blank

const utf8 = new TextEncoder();

export class Pieces {
  #bytes;
  #starts; // [tokens + 1], where the next one begins
  #slots;
  #tied;

  /**
   * @param {string} pieces the tokens by id, parted by blanks
   * @param {number[]} tied ids
   */
  constructor(pieces, tied) {
    this.#bytes = utf8.encode(pieces);
    this.#starts = startsOf(this.#bytes);
    this.#tied = new Set(tied);
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * this.#starts.length))).fill(-1);
    for (let id = 0; id + 1 < this.#starts.length; id++) {
      this.#slots[this.#slotOf(this.#bytes, this.#starts[id], this.#starts[id + 1] - 1)] = id;
    }
  }

  /**
   * @param {string} token
   * @returns {number | undefined} its id
   */
  idOf(token) {
    const id = this.#slots[this.#slotOf(utf8.encode(token))];
    return id < 0 ? undefined : id;
  }

  /**
   * @param {string} text normalised, without added tokens
   * @returns {string[]} its tokens
   */
  split(text) {
    const letters = Array.from(text);
    const parts = new Parts(letters, (left, right) => this.#rank(left, right));
    for (const [at, letter] of letters.entries()) {
      if (this.idOf(letter) === undefined) parts.seal(at);
    }
    return parts.merged().flatMap(({ text: part, sealed }) => (sealed ? bytesOf(part) : [part]));
  }

  /** When two tokens are merged, the lowest first: one number for one pair; undefined: never. */
  #rank(left, right) {
    const id = this.idOf(left + right);
    if (id === undefined) return undefined;
    if (!this.#tied.has(id)) return id * MOST_LETTERS - left.length;
    const [l, r] = [left, right].map((half) => Array.from(half).length);
    return id - (l * MOST_LETTERS + r + 1) * MOST_TOKENS;
  }

  /** Where the id of bytes[from..to) is, or would be. */
  #slotOf(bytes, from = 0, to = bytes.length) {
    const last = this.#slots.length - 1;
    let slot = hash(bytes, from, to) & last;
    while (this.#slots[slot] >= 0 && !this.#holds(this.#slots[slot], bytes, from, to)) {
      slot = (slot + 1) & last;
    }
    return slot;
  }

  #holds(id, bytes, from, to) {
    const start = this.#starts[id];
    if (this.#starts[id + 1] - 1 - start !== to - from) return false;
    for (let i = from; i < to; i++) {
      if (bytes[i] !== this.#bytes[start + i - from]) return false;
    }
    return true;
  }
}

/** FNV-1a. */
function hash(bytes, from, to) {
  let value = 0x811c9dc5;
  for (let i = from; i < to; i++) value = Math.imul(value ^ bytes[i], 0x01000193);
  return value ^ (value >>> 15);
}

/** Where each token begins, and one blank behind the last. */
function startsOf(bytes) {
  const starts = [0];
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] === SEPARATOR) starts.push(i + 1);
  }
  return Uint32Array.from(starts.concat(bytes.length + 1));
}

/** @returns {string[]} the tokens of a letter's bytes */
function bytesOf(letter) {
  return Array.from(utf8.encode(letter),
    (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
}

/** Letters that become longer parts, two neighbours at a time, the lowest rank and place first. */
class Parts {
  #texts; // '' where a part went into the one before
  #rank;
  #next;
  #before;
  #sealed = new Set();
  #queue = new Queue();

  constructor(letters, rank) {
    this.#texts = letters.slice();
    this.#rank = rank;
    this.#next = letters.map((_, i) => i + 1);
    this.#before = letters.map((_, i) => i - 1);
  }

  /** This one merges with none. */
  seal(at) {
    this.#sealed.add(at);
  }

  merged() {
    const texts = this.#texts;
    texts.forEach((_, at) => this.#offer(at));
    for (let best = this.#queue.take(); best; best = this.#queue.take()) {
      const { at, left, right } = best;
      const then = this.#next[at];
      if (texts[at] !== left || texts[then] !== right) continue; // one of them is longer by now
      texts[at] = left + right;
      texts[then] = '';
      this.#next[at] = this.#next[then];
      this.#before[this.#next[at]] = at; // or of none, behind the last
      this.#offer(this.#before[at]);
      this.#offer(at);
    }
    return texts.map((text, at) => ({ text, sealed: this.#sealed.has(at) }))
      .filter(({ text }) => text);
  }

  #offer(at) {
    const then = this.#next[at];
    if (at < 0 || !(then < this.#texts.length)) return;
    if (this.#sealed.has(at) || this.#sealed.has(then)) return;
    const [left, right] = [this.#texts[at], this.#texts[then]];
    const rank = this.#rank(left, right);
    if (rank !== undefined) this.#queue.add({ rank, at, left, right });
  }
}

/** The lowest first: a heap, each entry no higher than the two at 2 i + 1 and 2 i + 2. */
class Queue {
  #entries = [];

  add(entry) {
    const entries = this.#entries;
    let at = entries.push(entry) - 1;
    for (let up = (at - 1) >> 1; at && isBefore(entry, entries[up]); up = (at - 1) >> 1) {
      entries[at] = entries[up];
      at = up;
    }
    entries[at] = entry;
  }

  take() {
    const entries = this.#entries;
    const [first] = entries;
    const entry = entries.pop();
    if (!entries.length) return first;
    let at = 0;
    for (let down = 1; down < entries.length; down = 2 * at + 1) {
      if (down + 1 < entries.length && isBefore(entries[down + 1], entries[down])) down++;
      if (!isBefore(entries[down], entry)) break;
      entries[at] = entries[down];
      at = down;
    }
    entries[at] = entry;
    return first;
  }
}

function isBefore(one, other) {
  return one.rank < other.rank || (one.rank === other.rank && one.at < other.at);
}
