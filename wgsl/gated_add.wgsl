// gated_add    x[m,d] += mod[gate_at+d] * y[m,d], in place
//
//   modulation f32, one vector for all rows
//   y, x   [M, D] f32
//   grid   M*D/256 stride
//   oracle tests/oracles.py::gated_add

struct Dims { M: u32, D: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> modulation: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < dims.M * dims.D; i += 256u * groups.x) {
    x[i] += modulation[dims.gate_at + i % dims.D] * y[i];
  }
}
