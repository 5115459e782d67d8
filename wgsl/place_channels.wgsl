// place_channels    y[y0+p, c0+c] = x[p, c]
//
//   x      [P, C] f32
//   y      [*, Cy] f32; the other channels stay as they are
//   grid   P*C/256 stride
//   needs  c0 + C <= Cy
//   oracle tests/oracles.py::place_channels

struct Dims { P: u32, C: u32, Cy: u32, y0: u32, c0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < dims.P * dims.C; i += 256u * groups.x) {
    y[(dims.y0 + i / dims.C) * dims.Cy + dims.c0 + i % dims.C] = x[i];
  }
}
