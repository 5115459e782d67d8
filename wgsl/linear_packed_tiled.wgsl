// linear_packed_tiled    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed
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
//   grid   N/COLUMNS, M/ROWS, 1
//   needs  ROWS % 4 == 0, COLUMNS % 8 == 0, ROWS*COLUMNS <= 8192, ROWS + COLUMNS <= 256;
//          GROUP % 32 == 0; K, K_all and k0 multiples of GROUP
//   oracle tests/oracles.py::linear_packed
//
// A workgroup unpacks COLUMNS rows of W and takes ROWS rows of x to workgroup memory, 16 inputs at
// a time, as `act`: what is unpacked once serves ROWS rows. A thread holds 4 rows by 8 columns of y.
// What is beyond ACT_MAX must not become infinite.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override BIASED: bool = false;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override EPILOGUE: u32 = 0u;
override ROWS: u32 = 64u;
override COLUMNS: u32 = 64u;

const DEPTH = 16u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> biases: array<u32>;
@group(0) @binding(5) var<storage, read> gate: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;

var<workgroup> xs: array<vec4<act>, DEPTH * ROWS / 4u>;     // [DEPTH, ROWS]
var<workgroup> ws: array<vec4<act>, DEPTH * COLUMNS / 4u>;  // [DEPTH, COLUMNS]

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

@compute @workgroup_size(COLUMNS / 8u, ROWS / 4u)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let threads = COLUMNS / 8u * (ROWS / 4u);
  let n = COLUMNS * group_id.x;
  let m = ROWS * group_id.y;
  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  for (var k = 0u; k < dims.K; k += DEPTH) {
    for (var i = lane; i < DEPTH * ROWS / 4u; i += threads) {  // an input of four rows each
      let at = k / 4u + i % DEPTH / 4u;
      let j = i % 4u;
      let rows = min(m + i / DEPTH * 4u + lanes, vec4u(dims.M - 1u)) * (dims.K / 4u) + at;
      let v = vec4f(x[rows.x][j], x[rows.y][j], x[rows.z][j], x[rows.w][j]);
      let kept = clamp(v, vec4f(-ACT_MAX), vec4f(ACT_MAX));
      xs[i % DEPTH * (ROWS / 4u) + i / DEPTH] = vec4<act>(kept);
    }
    for (var i = lane; i < DEPTH * COLUMNS / 4u; i += threads) {  // a weight of four columns each
      let columns = min(n + i / DEPTH * 4u + lanes, vec4u(dims.N - 1u));
      let at = (dims.n0 + columns) * dims.K_all + dims.k0 + k + i % DEPTH;
      let word = at / 32u * BITS + at % 32u * BITS / 32u;
      let packed = vec4u(codes[word.x], codes[word.y], codes[word.z], codes[word.w]);
      let code = (packed >> (at * BITS % 32u)) & vec4u((1u << BITS) - 1u);
      let g = at / GROUP;
      let groups = transpose(mat4x2f(group_at(g.x), group_at(g.y), group_at(g.z), group_at(g.w)));
      ws[i % DEPTH * (COLUMNS / 4u) + i / DEPTH] = vec4<act>(groups[0] * vec4f(code) + groups[1]);
    }
    workgroupBarrier();
    for (var d = 0u; d < DEPTH; d++) {
      let v = vec4f(xs[d * (ROWS / 4u) + local.y]);
      let at = d * (COLUMNS / 4u) + 2u * local.x;
      let w = mat2x4f(vec4f(ws[at]), vec4f(ws[at + 1u]));
      y0 += v.x * w;
      y1 += v.y * w;
      y2 += v.z * w;
      y3 += v.w * w;
    }
    workgroupBarrier();
  }
  let row = m + 4u * local.y;
  let column = n + 8u * local.x;
  store(row, column, y0[0]);
  store(row, column + 4u, y0[1]);
  store(row + 1u, column, y1[0]);
  store(row + 1u, column + 4u, y1[1]);
  store(row + 2u, column, y2[0]);
  store(row + 2u, column + 4u, y2[1]);
  store(row + 3u, column, y3[0]);
  store(row + 3u, column + 4u, y3[1]);
}
