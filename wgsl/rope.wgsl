// rope    (a, b) = (a cos - b sin, b cos + a sin) for the pairs of x, in place
//
//   cos_sin [T, Dh/2, 2] f32
//   x       [T, H, Dh] f32; pair p is (2p, 2p+1), or (p, p + Dh/2) if HALF_SPLIT
//   grid   T*H*Dh/512 stride
//   needs  Dh % 2 == 0
//   oracle tests/oracles.py::rope

override HALF_SPLIT: bool = false;

struct Dims { T: u32, H: u32, Dh: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> cos_sin: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let half = dims.Dh / 2u;
  for (var i = id.x; i < dims.T * dims.H * half; i += 256u * groups.x) {
    let p = i % half;
    let row = i / half;  // t*H + h
    let angle = cos_sin[row / dims.H * half + p];
    let first = row * dims.Dh + select(2u * p, p, HALF_SPLIT);
    let second = first + select(1u, half, HALF_SPLIT);
    let a = x[first];
    let b = x[second];
    x[first] = a * angle.x - b * angle.y;
    x[second] = b * angle.x + a * angle.y;
  }
}
