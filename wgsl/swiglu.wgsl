// swiglu    gate = silu(gate) * up, in place
//
//   up, gate [count] f32
//   grid   count/256 stride
//   oracle tests/oracles.py::swiglu

struct Dims { count: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> up: array<f32>;
@group(0) @binding(2) var<storage, read_write> gate: array<f32>;

fn silu(v: f32) -> f32 {
  return v / (1.0 + exp(min(-v, 87.0)));  // bounded: exp must not reach infinity
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < dims.count; i += 256u * groups.x) {
    gate[i] = silu(gate[i]) * up[i];
  }
}
