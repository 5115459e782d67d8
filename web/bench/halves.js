/** 16-bit floats; Float16Array is younger than the oldest browser that draws. */

/** @param {Float32Array} values @returns {Uint16Array} to the nearest, ties to even */
export function toHalves(values) {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(words, (word, i) => (word >>> 16 & 0x8000) | magnitude(
    word & 0x7fffffff, Math.abs(values[i])));
}

function magnitude(word, value) {
  if (word > 0x7f800000) return 0x7e00; // NaN
  if (word >= 0x47800000) return 0x7c00; // 65536 and more: infinite
  if (word < 0x38800000) return tiesToEven(value * 2 ** 24); // below 2^-14: subnormal
  return (word - 0x38000000 + 0xfff + (word >>> 13 & 1)) >>> 13;
}

function tiesToEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return below + (rest > 0.5 || (rest === 0.5 && below % 2) ? 1 : 0);
}

/** @param {Uint16Array} halves @returns {Float32Array} */
export function fromHalves(halves) {
  return Float32Array.from(halves, (half) => {
    const exponent = half >>> 10 & 31;
    const fraction = half & 1023;
    const size = exponent === 31 ? (fraction ? NaN : Infinity)
      : exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    return half & 0x8000 ? -size : size;
  });
}
