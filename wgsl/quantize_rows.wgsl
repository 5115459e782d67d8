// quantize_rows    q[m] = x[m] / scale as bytes, for linear_packed_int8
//
//   scale  a group's largest |x| / 127, so that bytes are -127..127, rounded to nearest
//   x      [M, K] f32
//   q      [M, K/4 + 2 K/GROUP] u32: bytes, then scales (f32), then sums of a group's bytes (i32).
//          Word j of a run of 4*STRIDE inputs holds its inputs j + i STRIDE, i < 4
//   grid   K/GROUP, M, 1
//   needs  GROUP % (4*STRIDE) == 0 and <= 256; K % GROUP == 0; STRIDE 1, 2, 4, 8
//   oracle tests/oracles.py::quantize_rows
//
// One workgroup a group of a row, one thread a word.

override GROUP: u32 = 128u;
override STRIDE: u32 = 4u;

const WG = 64u;

struct Dims { M: u32, K: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<u32>;

var<workgroup> largest: array<f32, WG>;
var<workgroup> sums: array<i32, WG>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let groups = dims.K / GROUP;
  let row = id.y * (dims.K / 4u + 2u * groups);
  var v = vec4f();
  if (lane < GROUP / 4u) {
    let at = id.y * dims.K + id.x * GROUP + lane / STRIDE * 4u * STRIDE + lane % STRIDE;
    v = vec4f(x[at], x[at + STRIDE], x[at + 2u * STRIDE], x[at + 3u * STRIDE]);
  }
  let sizes = abs(v);
  largest[lane] = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
  for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { largest[lane] = max(largest[lane], largest[lane + stride]); }
  }
  workgroupBarrier();
  let scale = largest[0] / 127.0;
  let bytes = vec4i(round(v * select(0.0, 127.0 / largest[0], largest[0] > 0.0)));
  sums[lane] = bytes.x + bytes.y + bytes.z + bytes.w;
  for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane < stride) { sums[lane] += sums[lane + stride]; }
  }
  if (lane < GROUP / 4u) {
    let low = vec4u(bytes) & vec4u(255u);
    q[row + id.x * (GROUP / 4u) + lane] = low.x | (low.y << 8u) | (low.z << 16u) | (low.w << 24u);
  }
  if (lane == 0u) {
    q[row + dims.K / 4u + id.x] = bitcast<u32>(scale);
    q[row + dims.K / 4u + groups + id.x] = bitcast<u32>(sums[0]);
  }
}
