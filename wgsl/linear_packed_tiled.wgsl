// linear_packed_tiled    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed
//
//   x      [M, K] f32
//   grid   N/COLUMNS, M/ROWS, 1
//   needs  ROWS % 4 == 0, COLUMNS % 8 == 0, ROWS*COLUMNS <= 8192, ROWS + COLUMNS <= 256
//   parts  packed, epilogue
//   oracle tests/oracles.py::linear_packed
//
// A workgroup unpacks COLUMNS rows of W and takes ROWS rows of x to workgroup memory, 16 inputs at
// a time, as `act`: what is unpacked once serves ROWS rows. A thread holds 4 rows by 8 columns of y.
// What is beyond ACT_MAX must not become infinite.

override ROWS: u32 = 64u;
override COLUMNS: u32 = 64u;

const DEPTH = 16u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;

var<workgroup> xs: array<vec4<act>, DEPTH * ROWS / 4u>;     // [DEPTH, ROWS]
var<workgroup> ws: array<vec4<act>, DEPTH * COLUMNS / 4u>;  // [DEPTH, COLUMNS]

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
      let word = at / WORD;
      let packed = vec4u(codes[word.x], codes[word.y], codes[word.z], codes[word.w]);
      let code = (packed >> (at % WORD * BITS)) & vec4u((1u << BITS) - 1u);
      let groups = groups_at(at / GROUP);
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
  store_eight(row, column, y0);
  store_eight(row + 1u, column, y1);
  store_eight(row + 2u, column, y2);
  store_eight(row + 3u, column, y3);
}
