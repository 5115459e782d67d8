// rope    x[t,h] = rotate(x[t,h], angles[t0+t])
//
//   rotate: (a, b) -> (a cos - b sin, b cos + a sin) for the pairs of a head
//   x      [T, H, Dh] f32; pair p is (2p, 2p+1), or (p, p + Dh/2) if HALF_SPLIT
//   angles [*, Dh/2, 2] f32: cos, sin
//   grid   T*H*Dh/512 stride
//   needs  Dh % 2 == 0
//   oracle tests/oracles.py::rope
//
// A thread a pair.

override HALF_SPLIT: bool = false;

struct Dims { T: u32, H: u32, Dh: u32, t0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> angles: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let pairs = dims.Dh / 2u;
  for (var n = id.x; n < dims.T * dims.H * pairs; n += 256u * groups.x) {
    let head = n / pairs;
    let p = n % pairs;
    let i = head * dims.Dh + select(2u * p, p, HALF_SPLIT);
    let j = i + select(1u, pairs, HALF_SPLIT);
    let a = x[i];
    let b = x[j];
    let angle = angles[(dims.t0 + head / dims.H) * pairs + p];
    x[i] = a * angle.x - b * angle.y;
    x[j] = b * angle.x + a * angle.y;
  }
}
