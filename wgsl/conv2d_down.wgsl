// conv2d_down    y[y0+i] = conv(x, w)[i] + bias for rows i < rows: 3x3, stride 2
//
//   output (i, j) is made of x from row row0+2i and column 2j on; below and right of x lie zeros
//   x      [H, W, Cin] f32
//   w      [Cout, 3, 3, Cin] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   bias   [Cout] f32
//   y      [*, W/2, Cout] f32; only rows y0..y0+rows-1 are written
//   grid   Cout/64, W/8, rows
//   needs  Cin % 4 == 0; W even
//   oracle tests/oracles.py::conv2d_down
//
// As conv2d, with four pixels of a row by four output channels in registers: nine pixels are read
// for twelve taps.

override FORMAT: u32 = 1u;

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
  let width = dims.W / 2u;
  if (column >= width) { return; }
  let at = ((dims.y0 + row) * width + column) * dims.Cout + channel;
  for (var j = 0u; j < min(4u, dims.Cout - channel); j++) {
    y[at + j] = values[j] + bias[channel + j];
  }
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channel = 64u * group.x + 4u * lane;
  if (channel >= dims.Cout) { return; }
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let quads = dims.Cin / 4u;
  let filters = min(channel + lanes, vec4u(dims.Cout - 1u)) * (9u * dims.Cin);

  let left = 8u * group.y + lanes;
  let right = left + 4u;
  let edge = left.x + 8u;
  let in_left = left < vec4u(dims.W);
  let in_right = right < vec4u(dims.W);
  let in_edge = edge < dims.W;
  let at_left = select(vec4u(), left * quads, in_left);
  let at_right = select(vec4u(), right * quads, in_right);
  let at_edge = select(0u, edge * quads, in_edge);

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  for (var tap = 0u; tap < 3u; tap++) {
    let row = dims.row0 + 2u * group.z + tap;
    if (row >= dims.H) { continue; }
    let start = row * dims.W * quads;
    var s0 = vec4f();  // this row's
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    for (var c = start; c < start + quads; c++) {
      let v0 = pixel(c + at_left.x, in_left.x);
      let v1 = pixel(c + at_left.y, in_left.y);
      let v2 = pixel(c + at_left.z, in_left.z);
      let v3 = pixel(c + at_left.w, in_left.w);
      let v4 = pixel(c + at_right.x, in_right.x);
      let v5 = pixel(c + at_right.y, in_right.y);
      let v6 = pixel(c + at_right.z, in_right.z);
      let v7 = pixel(c + at_right.w, in_right.w);
      let v8 = pixel(c + at_edge, in_edge);
      let f = filters + 3u * tap * dims.Cin + 4u * (c - start);
      let a = filters_at(f);
      s0 += v0 * a;
      s1 += v2 * a;
      s2 += v4 * a;
      s3 += v6 * a;
      let b = filters_at(f + dims.Cin);
      s0 += v1 * b;
      s1 += v3 * b;
      s2 += v5 * b;
      s3 += v7 * b;
      let d = filters_at(f + 2u * dims.Cin);
      s0 += v2 * d;
      s1 += v4 * d;
      s2 += v6 * d;
      s3 += v8 * d;
    }
    y0 += s0;
    y1 += s1;
    y2 += s2;
    y3 += s3;
  }
  let column = 4u * group.y;
  store(group.z, column, channel, y0);
  store(group.z, column + 1u, channel, y1);
  store(group.z, column + 2u, channel, y2);
  store(group.z, column + 3u, channel, y3);
}
