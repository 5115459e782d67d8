// depthwise    y[y0+i] = conv(x, w)[row0+i] + bias for rows i < rows, each channel by itself
//
//   stride 1, zero padding (KS-1)/2. GATED: x has the channels a and b, C of each, and
//   y = a * silu(b) of what becomes of them
//   x      [H, W, C] f32, if GATED [H, W, 2 C]
//   w      [KS, KS, channels of x] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half
//          first)
//   bias   [channels of x] f32 if BIAS, else not read
//   y      [*, W, C] f32; only rows y0..y0+rows-1 are written
//   grid   C/256, W/4, rows
//   needs  KS odd; C % 4 == 0; row0 + rows <= H
//   oracle tests/oracles.py::depthwise
//
// A thread has four channels of four pixels of a row, which slide over the taps; its neighbours
// have the channels beside.

override KS: u32 = 3u;
override FORMAT: u32 = 1u;
override BIAS: bool = false;
override GATED: bool = false;

struct Dims { H: u32, W: u32, C: u32, row0: u32, rows: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<vec2u>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;

fn weights_at(quad: u32) -> vec4f {
  if (FORMAT == 0u) { return bitcast<vec4f>(vec4u(w[2u * quad], w[2u * quad + 1u])); }
  let words = w[quad];
  if (FORMAT == 2u) { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
  let low = words << vec2u(16u);
  let high = words & vec2u(0xffff0000u);
  return bitcast<vec4f>(vec4u(low.x, high.x, low.y, high.y));
}

fn pixel(row: u32, column: u32, quad: u32, quads: u32) -> vec4f {
  if (column >= dims.W) { return vec4f(); }  // left of the map wraps to huge
  return x[(row * dims.W + column) * quads + quad];
}

fn convolved(row: u32, column: u32, quad: u32) -> mat4x4f {  // four pixels from `column` on
  let quads = select(dims.C, 2u * dims.C, GATED) / 4u;
  let left = column - KS / 2u;
  var sums = mat4x4f();
  for (var i = 0u; i < KS; i++) {
    let line = row + i - KS / 2u;
    if (line >= dims.H) { continue; }
    var p0 = pixel(line, left, quad, quads);
    var p1 = pixel(line, left + 1u, quad, quads);
    var p2 = pixel(line, left + 2u, quad, quads);
    for (var j = 0u; j < KS; j++) {
      let p3 = pixel(line, left + j + 3u, quad, quads);
      let tap = weights_at((i * KS + j) * quads + quad);
      sums += mat4x4f(p0 * tap, p1 * tap, p2 * tap, p3 * tap);
      p0 = p1;
      p1 = p2;
      p2 = p3;
    }
  }
  if (!BIAS) { return sums; }
  return sums + mat4x4f(bias[quad], bias[quad], bias[quad], bias[quad]);
}

fn silu(v: vec4f) -> vec4f {
  return v / (1.0 + exp(min(-v, vec4f(87.0))));  // exp must not reach infinity
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let quad = 64u * group.x + lane;
  let quads = dims.C / 4u;
  if (quad >= quads) { return; }
  let column = 4u * group.y;
  var result = convolved(dims.row0 + group.z, column, quad);
  if (GATED) {
    let gate = convolved(dims.row0 + group.z, column, quads + quad);
    result = mat4x4f(result[0] * silu(gate[0]), result[1] * silu(gate[1]),
                     result[2] * silu(gate[2]), result[3] * silu(gate[3]));
  }
  let at = ((dims.y0 + group.z) * dims.W + column) * quads + quad;
  for (var i = 0u; i < min(4u, dims.W - column); i++) { y[at + i * quads] = result[i]; }
}
