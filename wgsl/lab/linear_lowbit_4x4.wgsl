// linear_lowbit_4x4    y[M,N] (+)= x[M,K] · W[n0+n, k0+k]ᵀ
//
//   W[n,k] = scale[n, k/GROUP] * (code[n,k] - ZERO)
//   x      [M, K] f32
//   codes  [N_all, K_all*BITS/32] u32; code i of a word in bits BITS*i..
//          ternary: BITS 2, ZERO 1; binary: BITS 1, ZERO 0.5
//   scales [N_all, K_all/GROUP] of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   y      [M, N] f32; ADD adds to what is there
//   grid   N/32, M/32, 1
//   needs  GROUP % 32 == 0; K, K_all and k0 multiples of GROUP
//   oracle tests/oracles.py::linear_lowbit
//
// The first rung of linear_packed: a 4x4 tile of y in registers; four shifts, four conversions from
// unsigned and four subtractions for four weights.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override ADD: bool = false;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn float_at(i: u32) -> f32 {
  if (FORMAT == 0u) { return bitcast<f32>(scales[i]); }
  let word = scales[i / 2u];
  if (FORMAT == 2u) { return unpack2x16float(word)[i & 1u]; }
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}

fn values(word: u32, bit: u32) -> vec4f {  // code - ZERO of the four codes that start at bit
  let shifts = bit + vec4u(0u, BITS, 2u * BITS, 3u * BITS);
  return vec4f((vec4u(word) >> shifts) & vec4u((1u << BITS) - 1u)) - ZERO;
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
    var s0 = vec4f();
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    for (var word = group * group_words; word < (group + 1u) * group_words; word++) {
      let c0 = codes[code_rows.x + word];
      let c1 = codes[code_rows.y + word];
      let c2 = codes[code_rows.z + word];
      let c3 = codes[code_rows.w + word];
      for (var bit = 0u; bit < 32u; bit += 4u * BITS) {
        let w = mat4x4f(values(c0, bit), values(c1, bit), values(c2, bit), values(c3, bit));
        s0 += x[rows.x + k] * w;
        s1 += x[rows.y + k] * w;
        s2 += x[rows.z + k] * w;
        s3 += x[rows.w + k] * w;
        k++;
      }
    }
    let scale = vec4f(float_at(scale_rows.x + group), float_at(scale_rows.y + group),
                      float_at(scale_rows.z + group), float_at(scale_rows.w + group));
    y0 += scale * s0;
    y1 += scale * s1;
    y2 += scale * s2;
    y3 += scale * s3;
  }
  store(m, n, y0);
  store(m + 1u, n, y1);
  store(m + 2u, n, y2);
  store(m + 3u, n, y3);
}
