// layer_norm_modulate    y[M,D] = (1 + mod[scale_at+d]) * LN(x)[m,d] + mod[shift_at+d]
//
//   LN(x) = (x - mean) / sqrt(var + eps) over D, without an affine
//   x, y   [M, D] f32
//   modulation  f32, one vector for all rows
//   grid   M stride
//   parts  row_sum
//   oracle tests/oracles.py::layer_norm_modulate
//
// One workgroup a row. The variance is summed around the mean, in a second pass.

struct Dims { M: u32, D: u32, shift_at: u32, scale_at: u32, eps: f32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> modulation: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
      let scale = 1.0 + modulation[dims.scale_at + d];
      y[row + d] = scale * ((x[row + d] - mean) * rstd) + modulation[dims.shift_at + d];
    }
  }
}
