// conv2d_ragged    y[y0+i] (+)= conv(x, w)[row0+i] + bias    as conv2d, but for any Cin
//
//   x      [H, W, Cin] f32, enlarged UP times by nearest neighbour before the convolution
//   w      [Cout, KS, KS, Cin] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   bias   [Cout] f32
//   y      [*, W*UP, Cout] f32, of which rows y0..y0+rows-1 are written; ADD adds to them
//   grid   Cout/8, W*UP/8, rows
//   needs  row0 + rows <= H*UP
//   oracle tests/oracles.py::conv2d_ragged
//
// One output a thread: models have channel counts of four, and at most a latent is narrower.

override KS: u32 = 3u;
override UP: u32 = 1u;
override FORMAT: u32 = 1u;
override ADD: bool = false;

struct Dims { H: u32, W: u32, Cin: u32, Cout: u32, row0: u32, rows: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn float_at(i: u32) -> f32 {
  if (FORMAT == 0u) { return bitcast<f32>(w[i]); }
  let word = w[i / 2u];
  if (FORMAT == 1u) { return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u)); }
  return unpack2x16float(word)[i & 1u];
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let channel = id.x;
  let width = dims.W * UP;
  if (channel >= dims.Cout || id.y >= width) { return; }

  var sum = bias[channel];
  for (var tap = 0u; tap < KS * KS; tap++) {
    let row = dims.row0 + id.z + tap / KS - KS / 2u;  // above the image wraps to huge
    let column = id.y + tap % KS - KS / 2u;
    if (row >= dims.H * UP || column >= width) { continue; }
    let x_at = (row / UP * dims.W + column / UP) * dims.Cin;
    let w_at = (channel * KS * KS + tap) * dims.Cin;
    for (var c = 0u; c < dims.Cin; c++) { sum += x[x_at + c] * float_at(w_at + c); }
  }
  let at = ((dims.y0 + id.z) * width + id.y) * dims.Cout + channel;
  if (ADD) { y[at] += sum; } else { y[at] = sum; }
}
