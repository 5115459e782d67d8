// linear_packed    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, W being packed
//
//   W[n,k] = scale[n, k/GROUP] * code[n,k] + rest[n, k/GROUP]; rest: bias if BIASED, otherwise
//          -ZERO * scale
//   x      [M, K] f32
//   codes  [N_all, K_all*BITS/32] u32; code i of a word in bits BITS*i.., BITS 1, 2, 4, 8
//   scales [N_all, K_all/GROUP] of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   biases like scales if BIASED, otherwise not read
//   gate   f32, read for EPILOGUE 3 alone
//   y      [M, N] f32. EPILOGUE 0: y = r, the product; 1: y += r; 2: y = silu(y) * r;
//          3: y += gate[gate_at+n] * r
//   grid   N/64, M/32, 1
//   needs  GROUP % 32 == 0; K, K_all and k0 multiples of GROUP
//   oracle tests/oracles.py::linear_packed
//
// Every thread holds 4 rows by 8 columns of y in registers. A code is masked, not shifted: its place
// in the word multiplies it by a power of two, by which the input is divided instead. The codes'
// zero is made good once a group, by the sum of the inputs.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override BIASED: bool = false;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override EPILOGUE: u32 = 0u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> biases: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

fn floats(word: u32, i: u32) -> f32 {  // the float of FORMAT that element i has in its word
  if (FORMAT == 0u) { return bitcast<f32>(word); }
  if (FORMAT == 2u) { return unpack2x16float(word)[i & 1u]; }
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}

fn group_at(i: u32) -> vec2f {  // scale, and what a code of zero stands for
  let word = select(i / 2u, i, FORMAT == 0u);
  let scale = floats(scales[word], i);
  if (!BIASED) { return vec2f(scale, -ZERO * scale); }
  return vec2f(scale, floats(biases[word], i));
}

fn unpack(words: vec4i, i: u32) -> vec4f {  // 2^(BITS i) * code i of four words, i < 4
  if (BITS == 8u) { return vec4f((words >> vec4u(8u * i)) & vec4i(255)); }  // code i itself
  return vec4f(words & vec4i(((1i << BITS) - 1i) << (BITS * i)));  // signed: that converts faster
}

fn power(exponents: vec4u) -> vec4f {  // 2^(exponents - 127), exactly
  return bitcast<vec4f>(exponents << vec4u(23u));
}

fn put(at: u32, n: u32, r: f32) {
  switch (EPILOGUE) {
    case 1u: { y[at] += r; }
    case 2u: { y[at] = y[at] / (1.0 + exp(min(-y[at], 87.0))) * r; }  // exp must not reach infinity
    case 3u: { y[at] += gate[dims.gate_at + n] * r; }
    default: { y[at] = r; }
  }
}

fn store(m: u32, n: u32, row: vec4f) {
  if (m >= dims.M || n >= dims.N) { return; }
  for (var j = 0u; j < min(4u, dims.N - n); j++) { put(m * dims.N + n + j, n + j, row[j]); }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = 8u * id.x;
  let m = 4u * id.y;
  if (m >= dims.M || n >= dims.N) { return; }

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * (dims.K / 4u);
  let a = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let b = (dims.n0 + min(n + 4u + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let group_words = GROUP / 32u * BITS;
  let shifts = select(BITS * lanes, vec4u(0u), BITS == 8u);
  let divide = power(127u - shifts);

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  var k = 0u;  // in units of four
  for (var group = 0u; group < dims.K / GROUP; group++) {
    var s0 = mat2x4f();
    var s1 = mat2x4f();
    var s2 = mat2x4f();
    var s3 = mat2x4f();
    var total = mat4x4f();  // of x, four inputs apart
    for (var word = group * group_words; word < (group + 1u) * group_words; word++) {
      let at = a / 32u * BITS + word;
      let bt = b / 32u * BITS + word;
      var c = vec4i(i32(codes[at.x]), i32(codes[at.y]), i32(codes[at.z]), i32(codes[at.w]));
      var d = vec4i(i32(codes[bt.x]), i32(codes[bt.y]), i32(codes[bt.z]), i32(codes[bt.w]));
      for (var bit = 0u; bit < 32u; bit += 4u * BITS) {
        let v = mat4x4f(divide * x[rows.x + k], divide * x[rows.y + k],
                        divide * x[rows.z + k], divide * x[rows.w + k]);
        let w0 = mat2x4f(unpack(c, 0u), unpack(d, 0u));
        let w1 = mat2x4f(unpack(c, 1u), unpack(d, 1u));
        let w2 = mat2x4f(unpack(c, 2u), unpack(d, 2u));
        let w3 = mat2x4f(unpack(c, 3u), unpack(d, 3u));
        s0 += v[0].x * w0 + v[0].y * w1 + v[0].z * w2 + v[0].w * w3;
        s1 += v[1].x * w0 + v[1].y * w1 + v[1].z * w2 + v[1].w * w3;
        s2 += v[2].x * w0 + v[2].y * w1 + v[2].z * w2 + v[2].w * w3;
        s3 += v[3].x * w0 + v[3].y * w1 + v[3].z * w2 + v[3].w * w3;
        total += v;
        c = c >> vec4u(4u * BITS % 32u);
        d = d >> vec4u(4u * BITS % 32u);
        k++;
      }
    }
    let ag = a / GROUP + group;
    let bg = b / GROUP + group;
    let ga = mat4x2f(group_at(ag.x), group_at(ag.y), group_at(ag.z), group_at(ag.w));
    let gb = mat4x2f(group_at(bg.x), group_at(bg.y), group_at(bg.z), group_at(bg.w));
    let scale = mat2x4f(transpose(ga)[0], transpose(gb)[0]);
    let rest = mat2x4f(transpose(ga)[1], transpose(gb)[1]);
    let sums = power(127u + shifts) * total;  // each row's
    y0 += mat2x4f(scale[0] * s0[0], scale[1] * s0[1]) + sums.x * rest;
    y1 += mat2x4f(scale[0] * s1[0], scale[1] * s1[1]) + sums.y * rest;
    y2 += mat2x4f(scale[0] * s2[0], scale[1] * s2[1]) + sums.z * rest;
    y3 += mat2x4f(scale[0] * s3[0], scale[1] * s3[1]) + sums.w * rest;
  }
  store(m, n, y0[0]);
  store(m, n + 4u, y0[1]);
  store(m + 1u, n, y1[0]);
  store(m + 1u, n + 4u, y1[1]);
  store(m + 2u, n, y2[0]);
  store(m + 2u, n + 4u, y2[1]);
  store(m + 3u, n, y3[0]);
  store(m + 3u, n + 4u, y3[1]);
}
