/** Text inside a PNG file. Format: https://www.w3.org/TR/png-3/, sections 5.2, 5.5, 11.3.3.4. */

const HEADER_BYTES = 8 + 25; // the signature and IHDR, which stands first

/** CRC-32 with the reversed polynomial 0xEDB88320, as PNG wants it. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** @returns {Uint8Array} length, type and data, CRC of type and data */
function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(new TextEncoder().encode(type), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/**
 * Puts an iTXt chunk (UTF-8, uncompressed) behind the header of a PNG file.
 * @param {Blob} png
 * @param {string} keyword 1 to 79 Latin-1 characters
 * @param {string} text
 * @returns {Blob} image/png
 */
export function withText(png, keyword, text) {
  // keyword, end, compression flag and method, empty language, empty translated keyword, text
  const data = new TextEncoder().encode(`${keyword}\0\0\0\0\0${text}`);
  const parts = [png.slice(0, HEADER_BYTES), chunk('iTXt', data), png.slice(HEADER_BYTES)];
  return new Blob(parts, { type: 'image/png' });
}
