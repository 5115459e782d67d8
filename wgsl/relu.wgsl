// relu    x = max(x, 0), in place
//
//   x      [count] f32
//   grid   count/256 stride
//   oracle tests/oracles.py::relu

struct Dims { count: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < dims.count; i += 256u * groups.x) {
    x[i] = max(x[i], 0.0);
  }
}
