// add_row    x[M,D] += row[d], in place
//
//   row    [D] f32
//   x      [M, D] f32
//   grid   M*D/1024 stride
//   needs  D % 4 == 0
//   oracle tests/oracles.py::add_row

struct Dims { M: u32, D: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> row: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let quads = dims.D / 4u;
  for (var i = id.x; i < dims.M * quads; i += 256u * groups.x) { x[i] += row[i % quads]; }
}
