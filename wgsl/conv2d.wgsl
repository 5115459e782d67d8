// conv2d    y[y0+i] = conv(x, w)[row0+i] + bias for rows i < rows, added to what is there if ADD
//
//   stride 1, zero padding (KS-1)/2; x is first enlarged UP times by nearest neighbour
//   x      [H, W, Cin] f32
//   w      [Cout, KS, KS, Cin] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   bias   [Cout] f32
//   y      [*, W*UP, Cout] f32; only rows y0..y0+rows-1 are written
//   grid   Cout/64, W*UP/8, rows
//   needs  KS 1 or 3, UP 1 or 2; Cin % 4 == 0; row0 + rows <= H*UP
//   oracle tests/oracles.py::conv2d
//
// Every thread holds eight pixels of a row by four output channels in registers. All threads of a
// workgroup read the same pixels, each once for the three taps of a row: on CPUs, where lanes that
// read one address share a load, that is what counts.

override KS: u32 = 3u;
override UP: u32 = 1u;
override FORMAT: u32 = 1u;
override ADD: bool = false;

struct Dims { H: u32, W: u32, Cin: u32, Cout: u32, row0: u32, rows: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<vec2u>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn floats_at(i: u32) -> vec4f {  // i..i+3, i % 4 == 0
  if (FORMAT == 0u) { return bitcast<vec4f>(vec4u(w[i / 2u], w[i / 2u + 1u])); }
  let words = w[i / 4u];
  if (FORMAT == 2u) { return vec4f(unpack2x16float(words.x), unpack2x16float(words.y)); }
  let low = words << vec2u(16u);
  let high = words & vec2u(0xffff0000u);
  return bitcast<vec4f>(vec4u(low.x, high.x, low.y, high.y));
}

fn filters_at(at: vec4u) -> mat4x4f {  // four inputs of four output channels
  return mat4x4f(floats_at(at.x), floats_at(at.y), floats_at(at.z), floats_at(at.w));
}

fn pixel(at: u32, inside: bool) -> vec4f {
  return select(vec4f(), x[at], inside);
}

fn store(row: u32, column: u32, channel: u32, values: vec4f) {
  if (column >= dims.W * UP) { return; }
  let at = ((dims.y0 + row) * dims.W * UP + column) * dims.Cout + channel;
  for (var j = 0u; j < min(4u, dims.Cout - channel); j++) {
    let value = values[j] + bias[channel + j];
    if (ADD) { y[at + j] += value; } else { y[at + j] = value; }
  }
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channel = 64u * group.x + 4u * lane;
  if (channel >= dims.Cout) { return; }
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let quads = dims.Cin / 4u;
  let filters = min(channel + lanes, vec4u(dims.Cout - 1u)) * (KS * KS * dims.Cin);

  let left = 8u * group.y + lanes - KS / 2u;  // left of the picture wraps to huge
  let right = left + 4u;
  let edge = left + 8u;
  let halve = UP / 2u;
  let in_left = left < vec4u(dims.W * UP);
  let in_right = right < vec4u(dims.W * UP);
  let in_edge = edge < vec4u(dims.W * UP);
  let at_left = select(vec4u(), (left >> vec4u(halve)) * quads, in_left);
  let at_right = select(vec4u(), (right >> vec4u(halve)) * quads, in_right);
  let at_edge = select(vec4u(), (edge >> vec4u(halve)) * quads, in_edge);

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  var y4 = vec4f();
  var y5 = vec4f();
  var y6 = vec4f();
  var y7 = vec4f();
  for (var tap = 0u; tap < KS; tap++) {
    let row = dims.row0 + group.z + tap - KS / 2u;
    if (row >= dims.H * UP) { continue; }
    let start = (row >> halve) * dims.W * quads;
    var s0 = vec4f();  // this row's
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    var s4 = vec4f();
    var s5 = vec4f();
    var s6 = vec4f();
    var s7 = vec4f();
    for (var c = start; c < start + quads; c++) {
      let v0 = pixel(c + at_left.x, in_left.x);
      let v1 = pixel(c + at_left.y, in_left.y);
      let v2 = pixel(c + at_left.z, in_left.z);
      let v3 = pixel(c + at_left.w, in_left.w);
      let v4 = pixel(c + at_right.x, in_right.x);
      let v5 = pixel(c + at_right.y, in_right.y);
      let v6 = pixel(c + at_right.z, in_right.z);
      let v7 = pixel(c + at_right.w, in_right.w);
      let f = filters + tap * KS * dims.Cin + 4u * (c - start);
      let a = filters_at(f);
      s0 += v0 * a;
      s1 += v1 * a;
      s2 += v2 * a;
      s3 += v3 * a;
      s4 += v4 * a;
      s5 += v5 * a;
      s6 += v6 * a;
      s7 += v7 * a;
      if (KS == 1u) { continue; }
      let v8 = pixel(c + at_edge.x, in_edge.x);
      let v9 = pixel(c + at_edge.y, in_edge.y);
      let b = filters_at(f + dims.Cin);
      s0 += v1 * b;
      s1 += v2 * b;
      s2 += v3 * b;
      s3 += v4 * b;
      s4 += v5 * b;
      s5 += v6 * b;
      s6 += v7 * b;
      s7 += v8 * b;
      let d = filters_at(f + 2u * dims.Cin);
      s0 += v2 * d;
      s1 += v3 * d;
      s2 += v4 * d;
      s3 += v5 * d;
      s4 += v6 * d;
      s5 += v7 * d;
      s6 += v8 * d;
      s7 += v9 * d;
    }
    y0 += s0;
    y1 += s1;
    y2 += s2;
    y3 += s3;
    y4 += s4;
    y5 += s5;
    y6 += s6;
    y7 += s7;
  }
  let column = 8u * group.y;
  store(group.z, column, channel, y0);
  store(group.z, column + 1u, channel, y1);
  store(group.z, column + 2u, channel, y2);
  store(group.z, column + 3u, channel, y3);
  store(group.z, column + 4u, channel, y4);
  store(group.z, column + 5u, channel, y5);
  store(group.z, column + 6u, channel, y6);
  store(group.z, column + 7u, channel, y7);
}
