// layer_norm    y[M,D] = (x[m,d] - mean) / sqrt(var + eps) * w[d] + b[d], both over D
//
//   x, y   [M, D] f32
//   w, b   [D] f32
//   grid   M stride
//   oracle tests/oracles.py::layer_norm
//
// One workgroup a row. The variance is summed around the mean, in a second pass.

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
    var total = 0.0;
    for (var d = lane; d < dims.D; d += WG) { total += x[row + d]; }
    let mean = sum(total, lane) / f32(dims.D);

    var squares = 0.0;
    for (var d = lane; d < dims.D; d += WG) {
      let deviation = x[row + d] - mean;
      squares += deviation * deviation;
    }
    let rstd = 1.0 / sqrt(sum(squares, lane) / f32(dims.D) + dims.eps);

    for (var d = lane; d < dims.D; d += WG) {
      y[row + d] = (x[row + d] - mean) * rstd * w[d] + b[d];
    }
  }
}
