// linear_packed_few    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed, for a few rows of x
//
//   W[n,k] = scale[n, k/GROUP] * code[n,k] + rest[n, k/GROUP]; rest: bias if BIASED, otherwise
//          -ZERO * scale
//   x      [M, K] f32
//   codes  [N_all, K_all*BITS/32] u32; code i of a word in bits BITS*i.., BITS 1, 2, 4
//   scales [N_all, K_all/GROUP] of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   biases like scales if BIASED, otherwise not read
//   gate   f32, read for EPILOGUE 3 alone
//   y      [M, N] f32. EPILOGUE 0: y = r, the product; 1: y += r; 2: y = silu(y) * r;
//          3: y += gate[gate_at+n] * r
//   grid   N*LANES/256, M, 1
//   needs  LANES a power of two <= 64; GROUP % 32 == 0; K, K_all and k0 multiples of GROUP
//   oracle tests/oracles.py::linear_packed
//
// LANES threads share four outputs and read neighbouring words of their rows of W: nothing is read
// twice, and on a GPU every transaction is used in full. On a CPU one thread alone is best. Codes are
// masked as in linear_packed.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override BIASED: bool = false;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override EPILOGUE: u32 = 0u;
override LANES: u32 = 1u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> biases: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<vec4f, 64>;

fn floats(word: u32, i: u32) -> f32 {  // the float of FORMAT that element i has in its word
  if (FORMAT == 0u) { return bitcast<f32>(word); }
  if (FORMAT == 2u) { return unpack2x16float(word)[i & 1u]; }
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}

fn group_at(i: u32) -> vec2f {  // scale and rest
  let word = select(i / 2u, i, FORMAT == 0u);
  let scale = floats(scales[word], i);
  if (!BIASED) { return vec2f(scale, -ZERO * scale); }
  return vec2f(scale, floats(biases[word], i));
}

fn unpack(words: vec4i, i: u32) -> vec4f {  // 2^(BITS i) * code i of four words, i < 4
  return vec4f(words & vec4i(((1i << BITS) - 1i) << (BITS * i)));
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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let n = 4u * (group_id.x * (64u / LANES) + lane / LANES);
  let m = group_id.y;
  let rows = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let divide = power(127u - BITS * lanes);
  let multiply = power(127u + BITS * lanes);
  var sums = vec4f();
  for (var word = lane % LANES; word < dims.K / 32u * BITS; word += LANES) {
    let at = rows / 32u * BITS + word;
    var c = vec4i(i32(codes[at.x]), i32(codes[at.y]), i32(codes[at.z]), i32(codes[at.w]));
    var k = (m * dims.K + word * (32u / BITS)) / 4u;
    var s = vec4f();
    var total = vec4f();
    for (var bit = 0u; bit < 32u; bit += 4u * BITS) {
      let v = divide * x[k];
      s += v.x * unpack(c, 0u) + v.y * unpack(c, 1u) + v.z * unpack(c, 2u) + v.w * unpack(c, 3u);
      total += v;
      c = c >> vec4u(4u * BITS);
      k++;
    }
    let g = rows / GROUP + word * (32u / BITS) / GROUP;
    let groups = mat4x2f(group_at(g.x), group_at(g.y), group_at(g.z), group_at(g.w));
    sums += transpose(groups)[0] * s + transpose(groups)[1] * dot(total, multiply);
  }
  partial[lane] = sums;
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane % LANES < stride) { partial[lane] += partial[lane + stride]; }
  }
  if (lane % LANES != 0u || n >= dims.N) { return; }
  for (var j = 0u; j < min(4u, dims.N - n); j++) {
    put(m * dims.N + n + j, n + j, partial[lane][j]);
  }
}
