// unpatchify    z[2i+dy, 2j+dx, c] = tokens[i*w+j, c4] * deviation[c4] + mean[c4]
//
//   c4 = 4c + 2dy + dx; dy, dx in {0, 1}
//   tokens    [h*w, 4C] f32
//   mean, deviation [4C] f32
//   z         [2h, 2w, C] f32
//   grid   h*w*C/64 stride
//   oracle tests/oracles.py::unpatchify

struct Dims { h: u32, w: u32, C: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> tokens: array<f32>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> deviation: array<f32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let width = 2u * dims.w;
  for (var i = id.x; i < 4u * dims.h * dims.w * dims.C; i += 256u * groups.x) {
    let c = i % dims.C;
    let column = i / dims.C % width;
    let row = i / dims.C / width;
    let c4 = 4u * c + 2u * (row % 2u) + column % 2u;
    let token = row / 2u * dims.w + column / 2u;
    z[i] = tokens[token * 4u * dims.C + c4] * deviation[c4] + mean[c4];
  }
}
