// linear_affine    y[M,N] (+)= x[M,K] · W[n0+n, k0+k]ᵀ
//
//   W[n,k] = scale[n, k/GROUP] * code[n,k] + bias[n, k/GROUP]
//   x      [M, K] f32
//   codes  [N_all, K_all*BITS/32] u32; code i of a word in bits BITS*i.., BITS 1, 2, 4, 8
//   scales [N_all, K_all/GROUP] of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   biases like scales
//   y      [M, N] f32; ADD adds to what is there
//   grid   N/32, M/32, 1
//   needs  GROUP % 32 == 0; K, K_all and k0 multiples of GROUP
//   oracle tests/oracles.py::linear_affine
//
// Every thread holds a 4x4 tile of y in registers and reads its codes a whole word at a time.

override BITS: u32 = 4u;
override GROUP: u32 = 64u;
override FORMAT: u32 = 1u;
override ADD: bool = false;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> biases: array<u32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

fn group_at(i: u32) -> vec2f {  // scale and bias
  if (FORMAT == 0u) { return bitcast<vec2f>(vec2u(scales[i], biases[i])); }
  let words = vec2u(scales[i / 2u], biases[i / 2u]);
  let half = i & 1u;
  if (FORMAT == 2u) {
    return vec2f(unpack2x16float(words.x)[half], unpack2x16float(words.y)[half]);
  }
  return bitcast<vec2f>(select(words << vec2u(16u), words & vec2u(0xffff0000u), half == 1u));
}

fn weights(word: u32, bit: u32, group: vec2f) -> vec4f {  // of the four codes that start at bit
  let shifts = bit + vec4u(0u, BITS, 2u * BITS, 3u * BITS);
  return group.x * vec4f((vec4u(word) >> shifts) & vec4u((1u << BITS) - 1u)) + group.y;
}

fn store(m: u32, n: u32, row: vec4f) {
  if (m >= dims.M) { return; }
  for (var j = 0u; j < min(4u, dims.N - n); j++) {
    let at = m * dims.N + n + j;
    if (ADD) { y[at] += row[j]; } else { y[at] = row[j]; }
  }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = 4u * id.x;
  let m = 4u * id.y;
  if (m >= dims.M || n >= dims.N) { return; }

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * (dims.K / 4u);
  let outputs = dims.n0 + min(n + lanes, vec4u(dims.N - 1u));
  let code_rows = (outputs * dims.K_all + dims.k0) / 32u * BITS;
  let scale_rows = (outputs * dims.K_all + dims.k0) / GROUP;
  let group_words = GROUP / 32u * BITS;

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  var k = 0u;  // in units of four
  for (var group = 0u; group < dims.K / GROUP; group++) {
    let g0 = group_at(scale_rows.x + group);
    let g1 = group_at(scale_rows.y + group);
    let g2 = group_at(scale_rows.z + group);
    let g3 = group_at(scale_rows.w + group);
    for (var word = group * group_words; word < (group + 1u) * group_words; word++) {
      let c0 = codes[code_rows.x + word];
      let c1 = codes[code_rows.y + word];
      let c2 = codes[code_rows.z + word];
      let c3 = codes[code_rows.w + word];
      for (var bit = 0u; bit < 32u; bit += 4u * BITS) {
        let w = mat4x4f(weights(c0, bit, g0), weights(c1, bit, g1),
                        weights(c2, bit, g2), weights(c3, bit, g3));
        y0 += x[rows.x + k] * w;
        y1 += x[rows.y + k] * w;
        y2 += x[rows.z + k] * w;
        y3 += x[rows.w + k] * w;
        k++;
      }
    }
  }
  store(m, n, y0);
  store(m + 1u, n, y1);
  store(m + 2u, n, y2);
  store(m + 3u, n, y3);
}
