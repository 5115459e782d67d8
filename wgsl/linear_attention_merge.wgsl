// linear_attention_merge    sums[i] = sum over slices s of partials[s,i]
//
//   partials [slices, count] f32: linear_attention_sums'
//   sums     [count] f32
//   grid   count/64 stride
//   oracle tests/oracles.py::linear_attention_merge

struct Dims { slices: u32, count: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < dims.count; i += 64u * groups.x) {
    var total = 0.0;
    for (var s = 0u; s < dims.slices; s++) { total += partials[s * dims.count + i]; }
    sums[i] = total;
  }
}
