/**
 * PNG files: text inside them, and pixels where no canvas packs them.
 * Format: https://www.w3.org/TR/png-3/, sections 5.2, 5.5, 9, 11.2, 11.3.3.
 */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const HEADER_BYTES = SIGNATURE.length + 25; // and IHDR, which stands first
const LONGEST_TEXT = 2 ** 20; // bytes, unpacked; settings are far shorter

/** CRC-32 with the reversed polynomial 0xEDB88320, as PNG wants it. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** @returns {Uint8Array<ArrayBuffer>} length, type and data, CRC of type and data */
function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/** iTXt: keyword, end, no compression (2 bytes), no language, no translated keyword, text. */
function textChunk([keyword, text]) {
  return chunk('iTXt', new TextEncoder().encode(`${keyword}\0\0\0\0\0${text}`));
}

/**
 * Puts texts (iTXt: UTF-8, uncompressed) behind the header of a PNG file.
 * @param {Blob} png
 * @param {Record<string, string>} texts by keyword, which is 1 to 79 Latin-1 characters
 * @returns {Blob} image/png
 */
export function withTexts(png, texts) {
  const chunks = Object.entries(texts).map(textChunk);
  const parts = [png.slice(0, HEADER_BYTES), ...chunks, png.slice(HEADER_BYTES)];
  return new Blob(parts, { type: 'image/png' });
}

/**
 * A PNG file of opaque pixels, without a canvas.
 * @param {{ rgba: Uint8ClampedArray, width: number, height: number }} picture
 * @returns {Promise<Blob>} image/png
 */
export async function packPixels({ rgba, width, height }) {
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits a channel
  header.setUint8(9, 2); // red, green, blue
  const rows = await new Response(new Blob([filtered(rgba, width, height)]).stream()
    .pipeThrough(new CompressionStream('deflate'))).arrayBuffer();
  return new Blob([new Uint8Array(SIGNATURE), chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('IDAT', new Uint8Array(rows)), chunk('IEND', new Uint8Array(0))], { type: 'image/png' });
}

/** Each row behind its filter's number: "Up", the difference from the row above. */
function filtered(rgba, width, height) {
  const rows = new Uint8Array(height * (1 + 3 * width));
  for (let y = 0, at = 0; y < height; y++) {
    rows[at++] = 2;
    for (let x = 0; x < width; x++) {
      const pixel = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) {
        rows[at++] = rgba[pixel + c] - (y ? rgba[pixel - 4 * width + c] : 0);
      }
    }
  }
  return rows;
}

/**
 * Reads the texts of some keywords, whatever kind of chunk holds them. What is damaged is passed
 * over; a wrong checksum alone is no reason not to read.
 * @param {Blob} file
 * @param {string[]} keywords
 * @returns {Promise<{ texts: Map<string, string>, damaged: boolean } | null>} null: no PNG
 */
export async function readTexts(file, keywords) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (SIGNATURE.some((byte, i) => bytes[i] !== byte)) return null;
  const texts = new Map();
  const { chunks, whole } = split(bytes);
  let damaged = !whole;
  for (const { type, data, sound } of chunks.filter(({ type }) => type in READERS)) {
    const end = data.indexOf(0);
    damaged ||= end < 0; // the keyword has no end
    const keyword = latin1(data.subarray(0, end));
    if (end < 0 || !keywords.includes(keyword)) continue;
    const text = await READERS[type](data.subarray(end + 1)).catch(() => null);
    if (text !== null) texts.set(keyword, text);
    damaged ||= text === null || !sound();
  }
  return { texts, damaged };
}

/** @returns {{ chunks: { type, data, sound }[], whole: boolean }} whole: it ends as a PNG does */
function split(bytes) {
  const view = new DataView(bytes.buffer);
  const chunks = [];
  for (let at = SIGNATURE.length; at + 12 <= bytes.length;) {
    const end = at + 8 + view.getUint32(at);
    if (end + 4 > bytes.length) break;
    const named = bytes.subarray(at + 4, end);
    const type = latin1(named.subarray(0, 4));
    if (type === 'IEND') return { chunks, whole: true };
    const crc = view.getUint32(end);
    chunks.push({ type, data: named.subarray(4), sound: () => crc32(named) === crc });
    at = end + 4;
  }
  return { chunks, whole: false };
}

/** What stands behind the keyword, by type of chunk. */
const READERS = {
  tEXt: async (data) => decode(data),
  zTXt: async (data) => decode(await inflate(data.subarray(1))),
  async iTXt(data) {
    const [compressed] = data;
    const language = data.indexOf(0, 2);
    const start = data.indexOf(0, language + 1) + 1;
    if (language < 0 || !start) throw new Error('iTXt ends inside its header');
    const text = data.subarray(start);
    return new TextDecoder('utf-8', { fatal: true }).decode(compressed ? await inflate(text) : text);
  },
};

/**
 * The format wants Latin-1 here. Studios write UTF-8 all the same, and Latin-1's control characters,
 * which nobody means, are quotes and dashes in Windows-1252.
 */
function decode(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

/** TextDecoder's "latin1" is another code, so by hand. */
function latin1(bytes) {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  const parts = [];
  let count = 0;
  for (const reader = stream.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    count += value.length;
    if (count > LONGEST_TEXT) {
      await reader.cancel();
      throw new Error(`the text is longer than ${LONGEST_TEXT} bytes`);
    }
    parts.push(value);
  }
}
