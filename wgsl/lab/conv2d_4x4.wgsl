// conv2d_4x4    y[y0+i] = conv(x, w)[row0+i] + bias for rows i < rows, added to what is there if ADD
// Timing, 64 channels 3x3, 128x128, bf16, CPU ms of the GPU process: SwiftShader 860, lavapipe 180 (conv2d 456, 140; ORT's Conv 7500, 385).
// Four pixels by four channels a thread; neighbouring threads share pixels, but no compiler can tell.
//
//   stride 1, zero padding (KS-1)/2; x is first enlarged UP times by nearest neighbour
//   x      [H, W, Cin] f32
//   w      [Cout, KS, KS, Cin] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   bias   [Cout] f32
//   y      [*, W*UP, Cout] f32; only rows y0..y0+rows-1 are written
//   grid   Cout/32, rows*W*UP/32, 1
//   needs  Cin % 4 == 0; row0 + rows <= H*UP
//   oracle tests/oracles.py::conv2d
//
// Every thread holds four pixels by four output channels in registers.

override KS: u32 = 3u;
override UP: u32 = 1u;
override FORMAT: u32 = 1u;
override ADD: bool = false;

struct Dims { H: u32, W: u32, Cin: u32, Cout: u32, row0: u32, rows: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn floats_at(i: u32) -> vec4f {  // i..i+3, i % 4 == 0
  if (FORMAT == 0u) { return bitcast<vec4f>(vec4u(w[i], w[i + 1u], w[i + 2u], w[i + 3u])); }
  let a = w[i / 2u];
  let b = w[i / 2u + 1u];
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
  }
  return vec4f(unpack2x16float(a), unpack2x16float(b));
}

fn store(pixel: u32, channel: u32, values: vec4f) {
  if (pixel >= dims.rows * dims.W * UP) { return; }
  for (var j = 0u; j < min(4u, dims.Cout - channel); j++) {
    let at = (dims.y0 * dims.W * UP + pixel) * dims.Cout + channel + j;
    let value = values[j] + bias[channel + j];
    if (ADD) { y[at] += value; } else { y[at] = value; }
  }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let channel = 4u * id.x;
  let pixel = 4u * id.y;
  let width = dims.W * UP;
  if (channel >= dims.Cout || pixel >= dims.rows * width) { return; }

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let pixels = min(pixel + lanes, vec4u(dims.rows * width - 1u));
  let filters = min(channel + lanes, vec4u(dims.Cout - 1u)) * (KS * KS * dims.Cin);
  let quads = dims.Cin / 4u;

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  for (var tap = 0u; tap < KS * KS; tap++) {
    let row = dims.row0 + pixels / width + tap / KS - KS / 2u;  // above the image wraps to huge
    let column = pixels % width + tap % KS - KS / 2u;
    let inside = (row < vec4u(dims.H * UP)) & (column < vec4u(width));
    let at = select(vec4u(), (row / UP * dims.W + column / UP) * quads, inside);
    var s0 = vec4f();
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    for (var c = 0u; c < quads; c++) {
      let f = filters + tap * dims.Cin + 4u * c;
      let tile = mat4x4f(floats_at(f.x), floats_at(f.y), floats_at(f.z), floats_at(f.w));
      s0 += x[at.x + c] * tile;
      s1 += x[at.y + c] * tile;
      s2 += x[at.z + c] * tile;
      s3 += x[at.w + c] * tile;
    }
    y0 += select(vec4f(), s0, inside.x);
    y1 += select(vec4f(), s1, inside.y);
    y2 += select(vec4f(), s2, inside.z);
    y3 += select(vec4f(), s3, inside.w);
  }
  store(pixel, channel, y0);
  store(pixel + 1u, channel, y1);
  store(pixel + 2u, channel, y2);
  store(pixel + 3u, channel, y3);
}
