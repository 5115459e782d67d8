// rms_norm_rope    y[t,h] = rotate(x[t,h] / sqrt(mean over Dh of x² + eps) * w, angles[t0+t])
//
//   rotate: (a, b) -> (a cos - b sin, b cos + a sin) for the pairs of a head
//   x, y   [T, H, Dh] f32; pair p is (2p, 2p+1), or (p, p + Dh/2) if HALF_SPLIT
//   w      [Dh] f32
//   angles [*, Dh/2, 2] f32: cos, sin
//   grid   T*H/4 stride
//   needs  Dh % 2 == 0
//   oracle tests/oracles.py::rms_norm_rope
//
// A workgroup takes four heads, sixteen threads each.

override HALF_SPLIT: bool = false;

const LANES = 16u;
const HEADS = 4u;

struct Dims { T: u32, H: u32, Dh: u32, t0: u32, eps: f32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> angles: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, LANES * HEADS>;

fn sum(value: f32, lane: u32, head: u32) -> f32 {  // over the threads of a head
  workgroupBarrier();  // the last sums have been read by all
  partial[LANES * head + lane] = value;
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < LANES; i++) { total += partial[LANES * head + i]; }
  return total;
}

@compute @workgroup_size(LANES, HEADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_id) local: vec3u) {
  let pairs = dims.Dh / 2u;
  let heads = dims.T * dims.H;
  for (var first = HEADS * group.x; first < heads; first += HEADS * groups.x) {
    let head = first + local.y;
    let row = min(head, heads - 1u) * dims.Dh;
    var squares = 0.0;
    for (var d = local.x; d < dims.Dh; d += LANES) { squares += x[row + d] * x[row + d]; }
    let scale = 1.0 / sqrt(sum(squares, local.x, local.y) / f32(dims.Dh) + dims.eps);
    for (var p = local.x; p < pairs && head < heads; p += LANES) {
      let i = select(2u * p, p, HALF_SPLIT);
      let j = i + select(1u, pairs, HALF_SPLIT);
      let a = x[row + i] * scale * w[i];
      let b = x[row + j] * scale * w[j];
      let angle = angles[(dims.t0 + head / dims.H) * pairs + p];
      y[row + i] = a * angle.x - b * angle.y;
      y[row + j] = b * angle.x + a * angle.y;
    }
  }
}
