// linear_packed_subgroup    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed
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
//   grid   N/256, M/4, 1
//   needs  GROUP % 32 == 0; K, K_all and k0 multiples of GROUP; subgroups of 8 invocations or more
//   oracle tests/oracles.py::linear_packed
//
// Every thread holds 4 rows by 8 columns of y in registers. A workgroup's threads share their rows:
// each reads one of eight inputs, and the subgroup passes it on. Codes as in linear_packed.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override BIASED: bool = false;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override EPILOGUE: u32 = 0u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
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

fn group_at(i: u32) -> vec2f {  // scale and rest
  let word = select(i / 2u, i, FORMAT == 0u);
  let scale = floats(scales[word], i);
  if (!BIASED) { return vec2f(scale, -ZERO * scale); }
  return vec2f(scale, floats(biases[word], i));
}

fn unpack(words: vec4i, i: u32) -> vec4f {  // 2^(BITS i) * code i of four words, i < 4
  return vec4f(words & vec4i(((1i << BITS) - 1i) << (BITS * i)));  // signed: that converts faster
}

fn power(exponent: u32) -> f32 {  // 2^(exponent - 127), exactly
  return bitcast<f32>(exponent << 23u);
}

// One input of four rows, times its weights in eight columns.
fn add(s0: ptr<function, mat2x4f>, s1: ptr<function, mat2x4f>, s2: ptr<function, mat2x4f>,
       s3: ptr<function, mat2x4f>, v: vec4f, w: mat2x4f) {
  *s0 += v.x * w;
  *s1 += v.y * w;
  *s2 += v.z * w;
  *s3 += v.w * w;
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

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_index) lane: u32,
        @builtin(subgroup_invocation_id) place: u32) {
  let n = 8u * (32u * group_id.x + lane);
  let m = 4u * group_id.y;

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * dims.K + (place & 7u);
  let a = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let b = (dims.n0 + min(n + 4u + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let group_words = GROUP / 32u * BITS;
  let divide = power(127u - (place & 3u) * BITS);
  let times = vec3f(power(127u + BITS), power(127u + 2u * BITS), power(127u + 3u * BITS));

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  var k = 0u;
  for (var group = 0u; group < dims.K / GROUP; group++) {
    var s0 = mat2x4f();
    var s1 = mat2x4f();
    var s2 = mat2x4f();
    var s3 = mat2x4f();
    var total = vec4f();  // of each row's inputs
    for (var word = group * group_words; word < (group + 1u) * group_words; word++) {
      let at = a / 32u * BITS + word;
      let bt = b / 32u * BITS + word;
      var c = vec4i(i32(codes[at.x]), i32(codes[at.y]), i32(codes[at.z]), i32(codes[at.w]));
      var d = vec4i(i32(codes[bt.x]), i32(codes[bt.y]), i32(codes[bt.z]), i32(codes[bt.w]));
      for (var bit = 0u; bit < 32u; bit += 8u * BITS) {
        let v = divide * vec4f(x[rows.x + k], x[rows.y + k], x[rows.z + k], x[rows.w + k]);
        let c4 = c >> vec4u(4u * BITS);
        let d4 = d >> vec4u(4u * BITS);
        let v0 = subgroupBroadcast(v, 0u);
        add(&s0, &s1, &s2, &s3, v0, mat2x4f(unpack(c, 0u), unpack(d, 0u)));
        let v1 = subgroupBroadcast(v, 1u);
        add(&s0, &s1, &s2, &s3, v1, mat2x4f(unpack(c, 1u), unpack(d, 1u)));
        let v2 = subgroupBroadcast(v, 2u);
        add(&s0, &s1, &s2, &s3, v2, mat2x4f(unpack(c, 2u), unpack(d, 2u)));
        let v3 = subgroupBroadcast(v, 3u);
        add(&s0, &s1, &s2, &s3, v3, mat2x4f(unpack(c, 3u), unpack(d, 3u)));
        let v4 = subgroupBroadcast(v, 4u);
        add(&s0, &s1, &s2, &s3, v4, mat2x4f(unpack(c4, 0u), unpack(d4, 0u)));
        let v5 = subgroupBroadcast(v, 5u);
        add(&s0, &s1, &s2, &s3, v5, mat2x4f(unpack(c4, 1u), unpack(d4, 1u)));
        let v6 = subgroupBroadcast(v, 6u);
        add(&s0, &s1, &s2, &s3, v6, mat2x4f(unpack(c4, 2u), unpack(d4, 2u)));
        let v7 = subgroupBroadcast(v, 7u);
        add(&s0, &s1, &s2, &s3, v7, mat2x4f(unpack(c4, 3u), unpack(d4, 3u)));
        total += v0 + v4 + times.x * (v1 + v5) + times.y * (v2 + v6) + times.z * (v3 + v7);
        c = c >> vec4u(8u * BITS % 32u);
        d = d >> vec4u(8u * BITS % 32u);
        k += 8u;
      }
    }
    let ag = a / GROUP + group;
    let bg = b / GROUP + group;
    let ga = mat4x2f(group_at(ag.x), group_at(ag.y), group_at(ag.z), group_at(ag.w));
    let gb = mat4x2f(group_at(bg.x), group_at(bg.y), group_at(bg.z), group_at(bg.w));
    let scale = mat2x4f(transpose(ga)[0], transpose(gb)[0]);
    let rest = mat2x4f(transpose(ga)[1], transpose(gb)[1]);
    y0 += mat2x4f(scale[0] * s0[0], scale[1] * s0[1]) + total.x * rest;
    y1 += mat2x4f(scale[0] * s1[0], scale[1] * s1[1]) + total.y * rest;
    y2 += mat2x4f(scale[0] * s2[0], scale[1] * s2[1]) + total.z * rest;
    y3 += mat2x4f(scale[0] * s3[0], scale[1] * s3[1]) + total.w * rest;
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
