// rms_norm    y[M,D] = x[m,d] / sqrt(mean over D of x² + eps) * w[d], then + b[d] if BIAS
//
//   x, y   [M, D] f32
//   w      [D] f32
//   b      [D] f32 if BIAS, else not read
//   grid   M stride
//   oracle tests/oracles.py::rms_norm
//
// One workgroup a row.

override BIAS: bool = false;

const WG = 64u;

struct Dims { M: u32, D: u32, eps: f32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, WG>;

fn sum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();  // the last sum has been read by all
  partial[lane] = value;
  workgroupBarrier();
  for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) { partial[lane] += partial[lane + stride]; }
    workgroupBarrier();
  }
  return partial[0];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var m = group.x; m < dims.M; m += groups.x) {
    let row = m * dims.D;
    var squares = 0.0;
    for (var d = lane; d < dims.D; d += WG) { squares += x[row + d] * x[row + d]; }
    let scale = 1.0 / sqrt(sum(squares, lane) / f32(dims.D) + dims.eps);
    for (var d = lane; d < dims.D; d += WG) {
      var value = x[row + d] * scale * w[d];
      if (BIAS) { value += b[d]; }
      y[row + d] = value;
    }
  }
}
