// linear_packed_shifts    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ
//
//   bindings, Dims and layouts of linear_packed
//   grid   N/64, M/32, 1
//
// The second rung of linear_packed: 4x8 outputs a thread, signed conversions; still a shift and a
// subtraction for each weight.

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

fn group_at(i: u32) -> vec2f {  // scale and rest
  let word = select(i / 2u, i, FORMAT == 0u);
  let scale = floats(scales[word], i);
  if (!BIASED) { return vec2f(scale, 0.0); }
  return vec2f(scale, floats(biases[word], i) + scale * ZERO);
}

fn unpack(words: vec4i, i: u32) -> vec4f {  // code i of four words. Signed: that converts faster
  return vec4f((words >> vec4u(i * BITS)) & vec4i((1i << BITS) - 1i)) - ZERO;
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

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  var k = 0u;  // in units of four
  for (var group = 0u; group < dims.K / GROUP; group++) {
    var s0 = vec4f(); var t0 = vec4f();
    var s1 = vec4f(); var t1 = vec4f();
    var s2 = vec4f(); var t2 = vec4f();
    var s3 = vec4f(); var t3 = vec4f();
    var total = mat4x4f();  // of x, four inputs apart
    for (var word = group * group_words; word < (group + 1u) * group_words; word++) {
      let at = a / 32u * BITS + word;
      let bt = b / 32u * BITS + word;
      var c = vec4i(i32(codes[at.x]), i32(codes[at.y]), i32(codes[at.z]), i32(codes[at.w]));
      var d = vec4i(i32(codes[bt.x]), i32(codes[bt.y]), i32(codes[bt.z]), i32(codes[bt.w]));
      for (var bit = 0u; bit < 32u; bit += 4u * BITS) {
        let v0 = x[rows.x + k]; let v1 = x[rows.y + k]; let v2 = x[rows.z + k]; let v3 = x[rows.w + k];
        let w0 = unpack(c, 0u); let u0 = unpack(d, 0u);
        s0 += v0.x * w0; t0 += v0.x * u0;
        s1 += v1.x * w0; t1 += v1.x * u0;
        s2 += v2.x * w0; t2 += v2.x * u0;
        s3 += v3.x * w0; t3 += v3.x * u0;
        let w1 = unpack(c, 1u); let u1 = unpack(d, 1u);
        s0 += v0.y * w1; t0 += v0.y * u1;
        s1 += v1.y * w1; t1 += v1.y * u1;
        s2 += v2.y * w1; t2 += v2.y * u1;
        s3 += v3.y * w1; t3 += v3.y * u1;
        let w2 = unpack(c, 2u); let u2 = unpack(d, 2u);
        s0 += v0.z * w2; t0 += v0.z * u2;
        s1 += v1.z * w2; t1 += v1.z * u2;
        s2 += v2.z * w2; t2 += v2.z * u2;
        s3 += v3.z * w2; t3 += v3.z * u2;
        let w3 = unpack(c, 3u); let u3 = unpack(d, 3u);
        s0 += v0.w * w3; t0 += v0.w * u3;
        s1 += v1.w * w3; t1 += v1.w * u3;
        s2 += v2.w * w3; t2 += v2.w * u3;
        s3 += v3.w * w3; t3 += v3.w * u3;
        if (BIASED) { total += mat4x4f(v0,v1,v2,v3); }
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
    let sums = vec4f(1.0) * total;  // each row's
    y0 += mat2x4f(scale[0] * s0, scale[1] * t0) + sums.x * rest;
    y1 += mat2x4f(scale[0] * s1, scale[1] * t1) + sums.y * rest;
    y2 += mat2x4f(scale[0] * s2, scale[1] * t2) + sums.z * rest;
    y3 += mat2x4f(scale[0] * s3, scale[1] * t3) + sums.w * rest;
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
