// linear_packed_int8    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed, x being quantised
//
//   W[n,k] = scale[n, k/GROUP] * code[n,k] + rest[n, k/GROUP]; rest: bias if BIASED, otherwise
//          -ZERO * scale
//   q      [M, K/4 + 2 K/GROUP] u32, what quantize_rows writes with STRIDE 8/BITS
//   codes  [N_all, K_all*BITS/32] u32; code i of a word in bits BITS*i.., BITS 1, 2, 4
//   scales [N_all, K_all/GROUP] of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   biases like scales if BIASED, otherwise not read
//   gate   f32, read for EPILOGUE 3 alone
//   y      [M, N] f32. EPILOGUE 0: y = r, the product; 1: y += r; 2: y = silu(y) * r;
//          3: y += gate[gate_at+n] * r
//   grid   N/64, M/64, 1
//   needs  GROUP % 32 == 0; K, K_all and k0 multiples of GROUP; packed_4x8_integer_dot_product
//   oracle tests/oracles.py::linear_packed
//
// A workgroup takes 64 rows of W and of q to workgroup memory, 32 inputs at a time. Masking a word
// of codes leaves every 8/BITS-th one in a byte, and quantize_rows has put the inputs in that
// order: dot4I8Packed multiplies four. Once a group, the inputs' sum makes good the codes' zero.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override BIASED: bool = false;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override EPILOGUE: u32 = 0u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<u32>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> biases: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> xs: array<vec4u, 128>;  // [8, 64] words of four inputs
var<workgroup> ws: array<vec4u, 128>;

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

fn dots(inputs: u32, weights: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(inputs, weights.x), dot4I8Packed(inputs, weights.y),
               dot4I8Packed(inputs, weights.z), dot4I8Packed(inputs, weights.w));
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let groups = dims.K / GROUP;
  let q_row = dims.K / 4u + 2u * groups;
  let mask = 0x01010101u * ((1u << BITS) - 1u);
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let word = lane / 16u % 8u;  // what this thread brings, of rows 4 * (lane % 16) and on
  let brought = 4u * (lane % 16u) + lanes;
  let x_rows = min(64u * group_id.y + brought, vec4u(dims.M - 1u)) * q_row;
  let w_rows = (dims.n0 + min(64u * group_id.x + brought, vec4u(dims.N - 1u))) * dims.K_all
    + dims.k0;
  let m = 64u * group_id.y + 4u * local.y;
  let n = 64u * group_id.x + 4u * local.x;
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * q_row + dims.K / 4u;
  let outputs = ((dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0) / GROUP;

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  for (var group = 0u; group < groups; group++) {
    var s0 = vec4i();
    var s1 = vec4i();
    var s2 = vec4i();
    var s3 = vec4i();
    for (var k = group * GROUP; k < (group + 1u) * GROUP; k += 32u) {
      if (lane < 128u) {  // a word of four rows each
        let at = x_rows + k / 4u + word;
        xs[lane] = vec4u(q[at.x], q[at.y], q[at.z], q[at.w]);
      } else {
        let at = (w_rows + k) / 32u * BITS + word * BITS / 8u;
        let packed = vec4u(codes[at.x], codes[at.y], codes[at.z], codes[at.w]);
        ws[lane - 128u] = (packed >> vec4u(word * BITS % 8u)) & vec4u(mask);
      }
      workgroupBarrier();
      for (var i = 0u; i < 8u; i++) {
        let v = xs[i * 16u + local.y];
        let w = ws[i * 16u + local.x];
        s0 += dots(v.x, w);
        s1 += dots(v.y, w);
        s2 += dots(v.z, w);
        s3 += dots(v.w, w);
      }
      workgroupBarrier();
    }
    let g = transpose(mat4x2f(group_at(outputs.x + group), group_at(outputs.y + group),
                              group_at(outputs.z + group), group_at(outputs.w + group)));
    let at = rows + group;
    let sums = vec4f(vec4i(i32(q[at.x + groups]), i32(q[at.y + groups]),
                           i32(q[at.z + groups]), i32(q[at.w + groups])));
    y0 += bitcast<f32>(q[at.x]) * (g[0] * vec4f(s0) + g[1] * sums.x);
    y1 += bitcast<f32>(q[at.y]) * (g[0] * vec4f(s1) + g[1] * sums.y);
    y2 += bitcast<f32>(q[at.z]) * (g[0] * vec4f(s2) + g[1] * sums.z);
    y3 += bitcast<f32>(q[at.w]) * (g[0] * vec4f(s3) + g[1] * sums.w);
  }
  store(m, n, y0);
  store(m + 1u, n, y1);
  store(m + 2u, n, y2);
  store(m + 3u, n, y3);
}
