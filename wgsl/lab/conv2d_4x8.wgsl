// conv2d_4x8    as conv2d
// Timing, 64 channels 3x3, 128x128, bf16, CPU ms of the GPU process: SwiftShader 690, lavapipe 113.
// Four pixels by eight channels, pixels uniform, each read once a tap, with fma.
//   grid   Cout/64, rows*W*UP/4
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
  let pair = w[i / 4u];
  if (FORMAT == 1u) { return bitcast<vec4f>(vec4u(pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u)); }
  return vec4f(unpack2x16float(pair.x), unpack2x16float(pair.y));
}
fn madd(v: vec4f, t: mat4x4f, s: vec4f) -> vec4f { return fma(vec4f(v.x), t[0], fma(vec4f(v.y), t[1], fma(vec4f(v.z), t[2], fma(vec4f(v.w), t[3], s)))); }
fn store(pixel: u32, channel: u32, values: vec4f) {
  if (pixel >= dims.rows * dims.W * UP) { return; }
  let at = (dims.y0 * dims.W * UP + pixel) * dims.Cout + channel;
  for (var j = 0u; j < min(4u, dims.Cout - channel); j++) {
    let value = values[j] + bias[channel + j];
    if (ADD) { y[at + j] += value; } else { y[at + j] = value; }
  }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let width = dims.W * UP;
  let pixel = 4u * group.y;
  let channel = 8u * (8u * group.x + lane);
  if (channel >= dims.Cout) { return; }
  let quads = dims.Cin / 4u;
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let f0 = min(channel + 0u + lanes, vec4u(dims.Cout - 1u)) * (KS * KS * dims.Cin);
  let f1 = min(channel + 4u + lanes, vec4u(dims.Cout - 1u)) * (KS * KS * dims.Cin);
  let pixels0 = min(pixel + 0u + lanes, vec4u(dims.rows * width - 1u));
  let row0 = dims.row0 + pixels0 / width - KS / 2u;
  let column0 = pixels0 % width - KS / 2u;
  var y0_0 = vec4f();
  var y0_1 = vec4f();
  var y1_0 = vec4f();
  var y1_1 = vec4f();
  var y2_0 = vec4f();
  var y2_1 = vec4f();
  var y3_0 = vec4f();
  var y3_1 = vec4f();
  var k = 0u;
  for (var dy = 0u; dy < KS; dy++) {
    for (var dx = 0u; dx < KS; dx++) {
      let r0 = row0 + dy;
      let q0 = column0 + dx;
      let inside0 = (r0 < vec4u(dims.H * UP)) & (q0 < vec4u(width));
      let at0 = select(vec4u(), ((r0 >> vec4u(UP / 2u)) * dims.W + (q0 >> vec4u(UP / 2u))) * quads, inside0);
      var s0_0 = vec4f();
      var s0_1 = vec4f();
      var s1_0 = vec4f();
      var s1_1 = vec4f();
      var s2_0 = vec4f();
      var s2_1 = vec4f();
      var s3_0 = vec4f();
      var s3_1 = vec4f();
      for (var c = 0u; c < quads; c++) {
        let t0 = transpose(mat4x4f(floats_at(f0.x + k), floats_at(f0.y + k), floats_at(f0.z + k), floats_at(f0.w + k)));
        let t1 = transpose(mat4x4f(floats_at(f1.x + k), floats_at(f1.y + k), floats_at(f1.z + k), floats_at(f1.w + k)));
        let v0 = x[at0.x + c];
        s0_0 = madd(v0, t0, s0_0);
        s0_1 = madd(v0, t1, s0_1);
        let v1 = x[at0.y + c];
        s1_0 = madd(v1, t0, s1_0);
        s1_1 = madd(v1, t1, s1_1);
        let v2 = x[at0.z + c];
        s2_0 = madd(v2, t0, s2_0);
        s2_1 = madd(v2, t1, s2_1);
        let v3 = x[at0.w + c];
        s3_0 = madd(v3, t0, s3_0);
        s3_1 = madd(v3, t1, s3_1);
        k += 4u;
      }
      y0_0 += select(vec4f(), s0_0, inside0.x);
      y0_1 += select(vec4f(), s0_1, inside0.x);
      y1_0 += select(vec4f(), s1_0, inside0.y);
      y1_1 += select(vec4f(), s1_1, inside0.y);
      y2_0 += select(vec4f(), s2_0, inside0.z);
      y2_1 += select(vec4f(), s2_1, inside0.z);
      y3_0 += select(vec4f(), s3_0, inside0.w);
      y3_1 += select(vec4f(), s3_1, inside0.w);
    }
  }
  if (channel + 0u < dims.Cout) { store(pixel + 0u, channel + 0u, y0_0); }
  if (channel + 4u < dims.Cout) { store(pixel + 0u, channel + 4u, y0_1); }
  if (channel + 0u < dims.Cout) { store(pixel + 1u, channel + 0u, y1_0); }
  if (channel + 4u < dims.Cout) { store(pixel + 1u, channel + 4u, y1_1); }
  if (channel + 0u < dims.Cout) { store(pixel + 2u, channel + 0u, y2_0); }
  if (channel + 4u < dims.Cout) { store(pixel + 2u, channel + 4u, y2_1); }
  if (channel + 0u < dims.Cout) { store(pixel + 3u, channel + 0u, y3_0); }
  if (channel + 4u < dims.Cout) { store(pixel + 3u, channel + 4u, y3_1); }
}
