// patchify    tokens[i*w+j, c4] = (z[2i+dy, 2j+dx, c] - mean[c4]) / deviation[c4]
//
//   c4 = 4c + 2dy + dx; dy, dx in {0, 1}; c < C: the other channels of z are left out
//   z         [2h, 2w, Cz] f32
//   mean, deviation [4C] f32
//   tokens    [h*w, 4C] f32
//   grid   h*w*C/64 stride
//   needs  C <= Cz
//   oracle tests/oracles.py::patchify

struct Dims { h: u32, w: u32, C: u32, Cz: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> deviation: array<f32>;
@group(0) @binding(4) var<storage, read_write> tokens: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let width = 4u * dims.C;
  for (var i = id.x; i < dims.h * dims.w * width; i += 256u * groups.x) {
    let c4 = i % width;
    let token = i / width;
    let row = token / dims.w * 2u + c4 / 2u % 2u;
    let column = token % dims.w * 2u + c4 % 2u;
    let value = z[(row * 2u * dims.w + column) * dims.Cz + c4 / 4u];
    tokens[i] = (value - mean[c4]) / deviation[c4];
  }
}
