// conv2d_tiled    y[y0+i] = conv(x, w)[row0+i] + bias, added to what is there if ADD, as conv2d
//
//   stride 1, zero padding (KS-1)/2; x is first enlarged UP times by nearest neighbour
//   x      [H, W, Cin] f32
//   w      [Cout, KS, KS, Cin] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   bias   [Cout] f32
//   y      [*, W*UP, Cout] f32; only rows y0..y0+rows-1 are written
//   grid   Cout/64, rows*W*UP/64, 1
//   needs  KS odd, UP 1 or 2; Cin % 4 == 0; row0 + rows <= H*UP
//   oracle tests/oracles.py::conv2d
//
// A workgroup takes 64 pixels and 64 filters to workgroup memory, 16 channels of one tap at a time,
// as `act`. A thread holds 4 pixels by 8 channels of y, 16 and 8 apart: neighbouring threads read
// neighbouring vectors, and only whole ones are written. What is beyond ACT_MAX must not become
// infinite.

override KS: u32 = 3u;
override UP: u32 = 1u;
override FORMAT: u32 = 1u;
override ADD: bool = false;

const TILE = 64u;  // pixels, and filters
const DEPTH = 4u;  // vectors of four channels

struct Dims { H: u32, W: u32, Cin: u32, Cout: u32, row0: u32, rows: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<vec2u>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> xs: array<vec4<act>, DEPTH * TILE>;  // [DEPTH, TILE]
var<workgroup> ws: array<vec4<act>, DEPTH * TILE>;

fn floats_at(i: u32) -> vec4f {  // i..i+3, i % 4 == 0
  if (FORMAT == 0u) { return bitcast<vec4f>(vec4u(w[i / 2u], w[i / 2u + 1u])); }
  let words = w[i / 4u];
  if (FORMAT == 2u) { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
  let low = words << vec2u(16u);
  let high = words & vec2u(0xffff0000u);
  return bitcast<vec4f>(vec4u(low.x, high.x, low.y, high.y));
}

fn kept(value: vec4f, inside: bool) -> vec4<act> {
  return vec4<act>(clamp(select(vec4f(), value, inside), vec4f(-ACT_MAX), vec4f(ACT_MAX)));
}

fn filters_at(at: u32) -> mat4x4f {
  return mat4x4f(vec4f(ws[at]), vec4f(ws[at + 8u]), vec4f(ws[at + 16u]), vec4f(ws[at + 24u]));
}

fn store(pixel: u32, channel: u32, values: mat2x4f) {
  if (pixel >= dims.rows * dims.W * UP) { return; }
  for (var j = 0u; j < 8u; j++) {
    let c = channel + 8u * j;
    if (c >= dims.Cout) { return; }
    let at = (dims.y0 * dims.W * UP + pixel) * dims.Cout + c;
    let value = values[j / 4u][j % 4u] + bias[c];
    if (ADD) { y[at] += value; } else { y[at] = value; }
  }
}

@compute @workgroup_size(8, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let width = dims.W * UP;
  let halve = UP / 2u;
  let quads = dims.Cin / 4u;
  let mine = lane / DEPTH + vec2u(0u, TILE / 2u);  // what this thread brings: two pixels, two filters
  let slot = lane % DEPTH * TILE + lane / DEPTH;
  let pixels = TILE * group.y + mine;
  let rows = dims.row0 + pixels / width - KS / 2u;  // above the image wraps to huge
  let columns = pixels % width - KS / 2u;
  let filters = min(TILE * group.x + mine, vec2u(dims.Cout - 1u)) * (KS * KS * dims.Cin);

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  for (var tap = 0u; tap < KS * KS; tap++) {
    let row = rows + tap / KS;
    let column = columns + tap % KS;
    let inside = (row < vec2u(dims.H * UP)) & (column < vec2u(width))
      & (pixels < vec2u(dims.rows * width));
    let at = select(vec2u(), ((row >> vec2u(halve)) * dims.W + (column >> vec2u(halve))) * quads,
                    inside);
    for (var c = 0u; c < quads; c += DEPTH) {
      let quad = min(c + lane % DEPTH, quads - 1u);
      let real = c + lane % DEPTH < quads;
      let f = filters + tap * dims.Cin + 4u * quad;
      xs[slot] = kept(x[at.x + quad], inside.x && real);
      xs[slot + TILE / 2u] = kept(x[at.y + quad], inside.y && real);
      ws[slot] = kept(floats_at(f.x), true);
      ws[slot + TILE / 2u] = kept(floats_at(f.y), true);
      workgroupBarrier();
      for (var d = 0u; d < DEPTH; d++) {
        let p = d * TILE + local.y;
        let a = filters_at(d * TILE + local.x);
        let b = filters_at(d * TILE + local.x + 32u);
        y0 += mat2x4f(vec4f(xs[p]) * a, vec4f(xs[p]) * b);
        y1 += mat2x4f(vec4f(xs[p + 16u]) * a, vec4f(xs[p + 16u]) * b);
        y2 += mat2x4f(vec4f(xs[p + 32u]) * a, vec4f(xs[p + 32u]) * b);
        y3 += mat2x4f(vec4f(xs[p + 48u]) * a, vec4f(xs[p + 48u]) * b);
      }
      workgroupBarrier();
    }
  }
  let pixel = TILE * group.y + local.y;
  let channel = TILE * group.x + local.x;
  store(pixel, channel, y0);
  store(pixel + 16u, channel, y1);
  store(pixel + 32u, channel, y2);
  store(pixel + 48u, channel, y3);
}
