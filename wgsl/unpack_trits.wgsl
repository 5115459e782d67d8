// unpack_trits    codes = the base-3 bytes' trits, two bits each
//
//   trits  u32 of four bytes, low first; byte b = t[5b] + 3 t[5b+1] + 9 t[5b+2] + ... + 81 t[5b+4]
//   codes  [words] u32: trit 16w+i in bits 2i, 2i+1 of word w
//   grid   words/256 stride
//   oracle tests/oracles.py::unpack_trits

struct Dims { words: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> trits: array<u32>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;

fn byte_at(i: u32) -> u32 {
  return (trits[i / 4u] >> (8u * (i % 4u))) & 255u;
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var w = id.x; w < dims.words; w += 256u * groups.x) {
    var at = 16u * w / 5u;
    var left = 5u - 16u * w % 5u;  // trits of this byte from here on
    var rest = byte_at(at);
    for (var skip = left; skip < 5u; skip++) { rest /= 3u; }
    var word = 0u;
    for (var i = 0u; i < 16u; i++) {
      if (left == 0u) {
        at++;
        left = 5u;
        rest = byte_at(at);
      }
      word |= (rest % 3u) << (2u * i);
      rest /= 3u;
      left--;
    }
    codes[w] = word;
  }
}
