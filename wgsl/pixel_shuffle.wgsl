// pixel_shuffle    y[y0+i, j, c] = x[(row0+i)/UP, j/UP, (c*UP*UP + dy*UP + dx) / REPEAT]
//
//   dy = (row0+i) % UP, dx = j % UP; added to what is there if ADD. Each channel of x stands REPEAT
//   times in a row before that: what diffusers' shortcuts do where a picture grows
//   x      [H, W, Cin] f32
//   y      [*, W*UP, Cout] f32; only rows y0..y0+rows-1 are written
//   grid   rows*W*UP*Cout/256 stride
//   needs  Cin * REPEAT == Cout * UP * UP; row0 + rows <= H*UP
//   oracle tests/oracles.py::pixel_shuffle

override UP: u32 = 2u;
override REPEAT: u32 = 1u;
override ADD: bool = false;

struct Dims { W: u32, Cin: u32, Cout: u32, row0: u32, rows: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let width = dims.W * UP;
  for (var i = id.x; i < dims.rows * width * dims.Cout; i += 256u * groups.x) {
    let c = i % dims.Cout;
    let column = i / dims.Cout % width;
    let row = dims.row0 + i / dims.Cout / width;
    let channel = (c * UP * UP + row % UP * UP + column % UP) / REPEAT;
    let value = x[(row / UP * dims.W + column / UP) * dims.Cin + channel];
    let at = dims.y0 * width * dims.Cout + i;
    if (ADD) { y[at] += value; } else { y[at] = value; }
  }
}
