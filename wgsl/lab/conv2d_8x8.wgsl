// conv2d_8x8    as conv2d
// Timing, 64 channels 3x3, 128x128, bf16, CPU ms of the GPU process: SwiftShader 387, lavapipe 129.
// conv2d with eight channels a thread: compiles in 400 ms instead of 230, 5.2 s instead of 1.8.
//   grid   Cout/64, W*UP/8, rows
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
fn madd(v: vec4f, t: mat4x4f, s: vec4f) -> vec4f { return s + v * t; }
fn store(pixel: u32, channel: u32, values: vec4f) {
  let at = (dims.y0 * dims.W * UP + pixel) * dims.Cout + channel;
  for (var j = 0u; j < min(4u, dims.Cout - channel); j++) {
    let value = values[j] + bias[channel + j];
    if (ADD) { y[at + j] += value; } else { y[at + j] = value; }
  }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let width = dims.W * UP;
  let column = 8u * group.y;
  let channel = 8u * (8u * group.x + lane);

  let quads = dims.Cin / 4u;
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let f0 = min(channel + 0u + lanes, vec4u(dims.Cout - 1u)) * (KS * KS * dims.Cin);
  let f1 = min(channel + 4u + lanes, vec4u(dims.Cout - 1u)) * (KS * KS * dims.Cin);
  var y0_0 = vec4f();
  var y0_1 = vec4f();
  var y1_0 = vec4f();
  var y1_1 = vec4f();
  var y2_0 = vec4f();
  var y2_1 = vec4f();
  var y3_0 = vec4f();
  var y3_1 = vec4f();
  var y4_0 = vec4f();
  var y4_1 = vec4f();
  var y5_0 = vec4f();
  var y5_1 = vec4f();
  var y6_0 = vec4f();
  var y6_1 = vec4f();
  var y7_0 = vec4f();
  var y7_1 = vec4f();
  let q0 = column + 0u - 1u; let in0 = q0 < width; let at0 = select(0u, (q0 >> (UP / 2u)) * quads, in0);
  let q1 = column + 1u - 1u; let in1 = q1 < width; let at1 = select(0u, (q1 >> (UP / 2u)) * quads, in1);
  let q2 = column + 2u - 1u; let in2 = q2 < width; let at2 = select(0u, (q2 >> (UP / 2u)) * quads, in2);
  let q3 = column + 3u - 1u; let in3 = q3 < width; let at3 = select(0u, (q3 >> (UP / 2u)) * quads, in3);
  let q4 = column + 4u - 1u; let in4 = q4 < width; let at4 = select(0u, (q4 >> (UP / 2u)) * quads, in4);
  let q5 = column + 5u - 1u; let in5 = q5 < width; let at5 = select(0u, (q5 >> (UP / 2u)) * quads, in5);
  let q6 = column + 6u - 1u; let in6 = q6 < width; let at6 = select(0u, (q6 >> (UP / 2u)) * quads, in6);
  let q7 = column + 7u - 1u; let in7 = q7 < width; let at7 = select(0u, (q7 >> (UP / 2u)) * quads, in7);
  let q8 = column + 8u - 1u; let in8 = q8 < width; let at8 = select(0u, (q8 >> (UP / 2u)) * quads, in8);
  let q9 = column + 9u - 1u; let in9 = q9 < width; let at9 = select(0u, (q9 >> (UP / 2u)) * quads, in9);

  for (var dy = 0u; dy < KS; dy++) {
    let r = dims.row0 + group.z + dy - KS / 2u;
    if (r >= dims.H * UP) { continue; }
    let base = (r >> (UP / 2u)) * dims.W * quads;
    for (var c = 0u; c < quads; c++) {
      let k = 4u * c + dy * KS * dims.Cin;
      let v0 = select(vec4f(), x[base + at0 + c], in0);
      let v1 = select(vec4f(), x[base + at1 + c], in1);
      let v2 = select(vec4f(), x[base + at2 + c], in2);
      let v3 = select(vec4f(), x[base + at3 + c], in3);
      let v4 = select(vec4f(), x[base + at4 + c], in4);
      let v5 = select(vec4f(), x[base + at5 + c], in5);
      let v6 = select(vec4f(), x[base + at6 + c], in6);
      let v7 = select(vec4f(), x[base + at7 + c], in7);
      let v8 = select(vec4f(), x[base + at8 + c], in8);
      let v9 = select(vec4f(), x[base + at9 + c], in9);
      let t0_0 = mat4x4f(floats_at(f0.x + k + 0u * dims.Cin), floats_at(f0.y + k + 0u * dims.Cin), floats_at(f0.z + k + 0u * dims.Cin), floats_at(f0.w + k + 0u * dims.Cin));
      y0_0 = madd(v0, t0_0, y0_0);
      y1_0 = madd(v1, t0_0, y1_0);
      y2_0 = madd(v2, t0_0, y2_0);
      y3_0 = madd(v3, t0_0, y3_0);
      y4_0 = madd(v4, t0_0, y4_0);
      y5_0 = madd(v5, t0_0, y5_0);
      y6_0 = madd(v6, t0_0, y6_0);
      y7_0 = madd(v7, t0_0, y7_0);
      let t1_0 = mat4x4f(floats_at(f1.x + k + 0u * dims.Cin), floats_at(f1.y + k + 0u * dims.Cin), floats_at(f1.z + k + 0u * dims.Cin), floats_at(f1.w + k + 0u * dims.Cin));
      y0_1 = madd(v0, t1_0, y0_1);
      y1_1 = madd(v1, t1_0, y1_1);
      y2_1 = madd(v2, t1_0, y2_1);
      y3_1 = madd(v3, t1_0, y3_1);
      y4_1 = madd(v4, t1_0, y4_1);
      y5_1 = madd(v5, t1_0, y5_1);
      y6_1 = madd(v6, t1_0, y6_1);
      y7_1 = madd(v7, t1_0, y7_1);
      let t0_1 = mat4x4f(floats_at(f0.x + k + 1u * dims.Cin), floats_at(f0.y + k + 1u * dims.Cin), floats_at(f0.z + k + 1u * dims.Cin), floats_at(f0.w + k + 1u * dims.Cin));
      y0_0 = madd(v1, t0_1, y0_0);
      y1_0 = madd(v2, t0_1, y1_0);
      y2_0 = madd(v3, t0_1, y2_0);
      y3_0 = madd(v4, t0_1, y3_0);
      y4_0 = madd(v5, t0_1, y4_0);
      y5_0 = madd(v6, t0_1, y5_0);
      y6_0 = madd(v7, t0_1, y6_0);
      y7_0 = madd(v8, t0_1, y7_0);
      let t1_1 = mat4x4f(floats_at(f1.x + k + 1u * dims.Cin), floats_at(f1.y + k + 1u * dims.Cin), floats_at(f1.z + k + 1u * dims.Cin), floats_at(f1.w + k + 1u * dims.Cin));
      y0_1 = madd(v1, t1_1, y0_1);
      y1_1 = madd(v2, t1_1, y1_1);
      y2_1 = madd(v3, t1_1, y2_1);
      y3_1 = madd(v4, t1_1, y3_1);
      y4_1 = madd(v5, t1_1, y4_1);
      y5_1 = madd(v6, t1_1, y5_1);
      y6_1 = madd(v7, t1_1, y6_1);
      y7_1 = madd(v8, t1_1, y7_1);
      let t0_2 = mat4x4f(floats_at(f0.x + k + 2u * dims.Cin), floats_at(f0.y + k + 2u * dims.Cin), floats_at(f0.z + k + 2u * dims.Cin), floats_at(f0.w + k + 2u * dims.Cin));
      y0_0 = madd(v2, t0_2, y0_0);
      y1_0 = madd(v3, t0_2, y1_0);
      y2_0 = madd(v4, t0_2, y2_0);
      y3_0 = madd(v5, t0_2, y3_0);
      y4_0 = madd(v6, t0_2, y4_0);
      y5_0 = madd(v7, t0_2, y5_0);
      y6_0 = madd(v8, t0_2, y6_0);
      y7_0 = madd(v9, t0_2, y7_0);
      let t1_2 = mat4x4f(floats_at(f1.x + k + 2u * dims.Cin), floats_at(f1.y + k + 2u * dims.Cin), floats_at(f1.z + k + 2u * dims.Cin), floats_at(f1.w + k + 2u * dims.Cin));
      y0_1 = madd(v2, t1_2, y0_1);
      y1_1 = madd(v3, t1_2, y1_1);
      y2_1 = madd(v4, t1_2, y2_1);
      y3_1 = madd(v5, t1_2, y3_1);
      y4_1 = madd(v6, t1_2, y4_1);
      y5_1 = madd(v7, t1_2, y5_1);
      y6_1 = madd(v8, t1_2, y6_1);
      y7_1 = madd(v9, t1_2, y7_1);
    }
  }
  if (column + 0u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 0u, channel + 0u, y0_0); }
  if (column + 0u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 0u, channel + 4u, y0_1); }
  if (column + 1u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 1u, channel + 0u, y1_0); }
  if (column + 1u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 1u, channel + 4u, y1_1); }
  if (column + 2u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 2u, channel + 0u, y2_0); }
  if (column + 2u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 2u, channel + 4u, y2_1); }
  if (column + 3u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 3u, channel + 0u, y3_0); }
  if (column + 3u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 3u, channel + 4u, y3_1); }
  if (column + 4u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 4u, channel + 0u, y4_0); }
  if (column + 4u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 4u, channel + 4u, y4_1); }
  if (column + 5u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 5u, channel + 0u, y5_0); }
  if (column + 5u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 5u, channel + 4u, y5_1); }
  if (column + 6u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 6u, channel + 0u, y6_0); }
  if (column + 6u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 6u, channel + 4u, y6_1); }
  if (column + 7u < width && channel + 0u < dims.Cout) { store(group.z * width + column + 7u, channel + 0u, y7_0); }
  if (column + 7u < width && channel + 4u < dims.Cout) { store(group.z * width + column + 7u, channel + 4u, y7_1); }
}
