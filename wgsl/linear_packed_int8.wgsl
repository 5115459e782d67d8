// linear_packed_int8    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed, x being quantised
//
//   q      [M, K/4 + 2 K/SPAN] u32, what quantize_rows writes with groups of SPAN and this STRIDE
//   grid   N/64, M/64, 1
//   needs  BITS 1, 2, 4; packed_4x8_integer_dot_product
//   parts  packed, epilogue
//   oracle tests/oracles.py::linear_packed
//
// A workgroup takes 64 rows of W and of q to workgroup memory, DEPTH inputs at a time. Masking a
// word of codes leaves every STRIDE-th one in a byte, and quantize_rows has put the inputs in that
// order: dot4I8Packed multiplies four. Once a span, the inputs' sum makes good the codes' zero.

override DEPTH: u32 = min(32u, SPAN & ~(SPAN - 1u));
override STRIDE: u32 = min(8u / BITS, DEPTH / 4u);

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<u32>;

var<workgroup> xs: array<vec4u, 128>;  // [DEPTH/4, 64] words of four inputs
var<workgroup> ws: array<vec4u, 128>;

fn spread(words: vec4u) -> vec4u {  // half a word of 1-bit codes: four of them to a byte
  return (words & vec4u(0xfu)) | ((words & vec4u(0xf0u)) << vec4u(4u))
    | ((words & vec4u(0xf00u)) << vec4u(8u)) | ((words & vec4u(0xf000u)) << vec4u(12u));
}

fn dots(inputs: u32, weights: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(inputs, weights.x), dot4I8Packed(inputs, weights.y),
               dot4I8Packed(inputs, weights.z), dot4I8Packed(inputs, weights.w));
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let spans = dims.K / SPAN;
  let q_row = dims.K / 4u + 2u * spans;
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let word = lane / 16u % 8u;  // what this thread brings, of rows 4 * (lane % 16) and on
  let brought = 4u * (lane % 16u) + lanes;
  let x_rows = min(64u * group_id.y + brought, vec4u(dims.M - 1u)) * q_row;
  let w_rows = (dims.n0 + min(64u * group_id.x + brought, vec4u(dims.N - 1u))) * dims.K_all
    + dims.k0;
  let m = 64u * group_id.y + 4u * local.y;
  let n = 64u * group_id.x + 4u * local.x;
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * q_row + dims.K / 4u;
  let outputs = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  for (var span = 0u; span < spans; span++) {
    var s0 = vec4i();
    var s1 = vec4i();
    var s2 = vec4i();
    var s3 = vec4i();
    for (var k = span * SPAN; k < (span + 1u) * SPAN; k += DEPTH) {
      if (lane < 128u && word < DEPTH / 4u) {  // a word of four rows each
        let at = x_rows + k / 4u + word;
        xs[lane] = vec4u(q[at.x], q[at.y], q[at.z], q[at.w]);
      } else if (word < DEPTH / 4u) {
        let run = (k + word / STRIDE * (4u * STRIDE)) / RUN;
        var packed = vec4u(run_at(w_rows / WORD, run));
        if (RUN < WORD) { packed = spread(packed); }
        ws[lane - 128u] = (packed >> vec4u(word % STRIDE * BITS))
          & vec4u(0x01010101u * ((1u << BITS) - 1u));
      }
      workgroupBarrier();
      for (var i = 0u; i < DEPTH / 4u; i++) {
        let v = xs[i * 16u + local.y];
        let w = ws[i * 16u + local.x];
        s0 += dots(v.x, w);
        s1 += dots(v.y, w);
        s2 += dots(v.z, w);
        s3 += dots(v.w, w);
      }
      workgroupBarrier();
    }
    let g = groups_at((outputs + span * SPAN) / GROUP);
    let at = rows + span;
    let sums = vec4f(vec4i(i32(q[at.x + spans]), i32(q[at.y + spans]),
                           i32(q[at.z + spans]), i32(q[at.w + spans])));
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
