/**
 * SentencePiece's precompiled table of replacements, as the tokenizers library applies it: to a
 * letter with its marks if that takes few bytes, else to each letter by itself; what the table does
 * not have stays.
 *
 * Bytes: u32, the length of a double array (darts-clone) in bytes; the array, u32; texts that end
 * with 0, to which the array leads. From the unit at i the byte c leads to the one at
 * i ^ offset ^ c, if that one's label is c.
 */

const FEW_BYTES = 6; // a letter and its marks of so many are looked at one by one

const utf8 = new TextEncoder();
const text = new TextDecoder('utf-8', { ignoreBOM: true });

export class Charsmap {
  #units;
  #texts;
  #graphemes = new Intl.Segmenter('und', { granularity: 'grapheme' });

  /** @param {string} base64 */
  constructor(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const length = view.getUint32(0, true);
    this.#units = Uint32Array.from({ length: length / 4 },
      (_, i) => view.getUint32(4 + 4 * i, true));
    this.#texts = bytes.subarray(4 + length);
  }

  /**
   * @param {string} whole
   * @returns {string}
   */
  normalize(whole) {
    const letters = (grapheme) => Array.from(grapheme,
      (letter) => this.#find(utf8.encode(letter)) ?? letter);
    return Array.from(this.#graphemes.segment(whole), ({ segment }) => {
      const bytes = utf8.encode(segment);
      const found = bytes.length < FEW_BYTES ? this.#find(bytes) : undefined;
      return found ?? letters(segment).join('');
    }).join('');
  }

  /** What the first beginning of these bytes becomes that the table has. */
  #find(bytes) {
    const units = this.#units;
    let at = offsetOf(units[0]);
    for (const byte of bytes) {
      const unit = units[at ^ byte];
      if (!byte || labelOf(unit) !== byte) return undefined;
      at ^= byte ^ offsetOf(unit);
      if (unit >>> 8 & 1) return this.#textAt(units[at] & 0x7fffffff);
    }
    return undefined;
  }

  #textAt(start) {
    const end = this.#texts.indexOf(0, start);
    return text.decode(this.#texts.subarray(start, end < 0 ? undefined : end));
  }
}

/** The byte that leads to a unit; of one that holds a value none. */
function labelOf(unit) {
  return (unit & 0x800000ff) >>> 0;
}

function offsetOf(unit) {
  return unit >>> 10 << (unit >>> 6 & 8);
}
