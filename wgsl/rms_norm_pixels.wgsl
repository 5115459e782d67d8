// rms_norm_pixels    y[y0+p] = act(x[x0+p] / sqrt(mean over C of x² + eps) * w + b)
//
//   added to what is there if ADD; act: ACT 0 none, 1 silu, 4 relu
//   x, y   [*, C] f32, P pixels of each
//   w, b   [C] f32
//   grid   P stride
//   parts  row_sum
//   oracle tests/oracles.py::rms_norm_pixels
//
// One workgroup a pixel.

override ACT: u32 = 0u;
override ADD: bool = false;

struct Dims { P: u32, C: u32, x0: u32, y0: u32, eps: f32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;
@group(0) @binding(3) var<storage, read> b: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn activate(v: f32) -> f32 {
  switch (ACT) {
    case 1u: { return v / (1.0 + exp(min(-v, 87.0))); }  // exp must not reach infinity
    case 4u: { return max(v, 0.0); }
    default: { return v; }
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  for (var p = group.x; p < dims.P; p += groups.x) {
    let from_at = (dims.x0 + p) * dims.C;
    let to_at = (dims.y0 + p) * dims.C;
    var squares = 0.0;
    for (var c = lane; c < dims.C; c += WG) { squares += x[from_at + c] * x[from_at + c]; }
    let scale = 1.0 / sqrt(sum(squares, lane) / f32(dims.C) + dims.eps);
    for (var c = lane; c < dims.C; c += WG) {
      let value = activate(x[from_at + c] * scale * w[c] + b[c]);
      if (ADD) { y[to_at + c] += value; } else { y[to_at + c] = value; }
    }
  }
}
