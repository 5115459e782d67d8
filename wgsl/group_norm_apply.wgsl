// group_norm_apply    y[y0+p] = (x[x0+p] - mean_g) * rstd_g * w[c] + b[c], then silu if SILU
//
//   x, y   [*, C] f32, P pixels of each, channel c in group g = c / (C/G)
//   stats  [G, 2] f32: mean, rstd
//   w, b   [C] f32
//   grid   P*C/256 stride
//   needs  C % G == 0
//   oracle tests/oracles.py::group_norm_apply

override SILU: bool = false;

struct Dims { P: u32, C: u32, G: u32, x0: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<vec2f>;
@group(0) @binding(3) var<storage, read> w: array<f32>;
@group(0) @binding(4) var<storage, read> b: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let width = dims.C / dims.G;
  for (var i = id.x; i < dims.P * dims.C; i += 256u * groups.x) {
    let c = i % dims.C;
    let group = stats[c / width];
    var value = (x[dims.x0 * dims.C + i] - group.x) * group.y * w[c] + b[c];
    if (SILU) { value /= 1.0 + exp(min(-value, 87.0)); }  // bounded: exp must not reach infinity
    y[dims.y0 * dims.C + i] = value;
  }
}
