// linear_packed_base3    y[M,N] = x[M,K] · W[N,K]ᵀ, W being ternary, five weights a byte
//
//   x      [M, K] f32
//   codes  [N, K/20] u32; four bytes of five digits each, the first in the highest place: byte
//          ceil(256/243 * (81 d0 + 27 d1 + 9 d2 + 3 d3 + d4)); digit i of byte j is weight 4i + j
//   scales [N, K/GROUP] of FORMAT, as linear_packed
//   y      [M, N] f32
//   grid   N/64, M/32, 1
//   needs  K % 20 == 0, K % GROUP == 0
//
// 1.6 bits a weight in memory in place of 2. Times three brings a byte's next digit above it, where
// it is masked like linear_packed's codes; two bytes of a word are multiplied at once. Groups of
// 128 end within a word, which is what it costs: groups of 160 are faster than two bits.

override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;

const BYTES = vec4i(0xff00ff);  // bytes 0 and 2 of a word

struct Dims { M: u32, N: u32, K: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

fn floats(word: u32, i: u32) -> f32 {  // the float of FORMAT that element i has in its word
  if (FORMAT == 0u) { return bitcast<f32>(word); }
  if (FORMAT == 2u) { return unpack2x16float(word)[i & 1u]; }
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}

fn group_at(i: u32) -> vec2f {  // scale, and what a code of zero stands for
  let word = select(i / 2u, i, FORMAT == 0u);
  let scale = floats(scales[word], i);
  return vec2f(scale, -scale);
}

fn power(exponents: vec4u) -> vec4f {  // 2^(exponents - 127), exactly
  return bitcast<vec4f>(exponents << vec4u(23u));
}

fn store(m: u32, n: u32, row: vec4f) {
  if (m >= dims.M || n >= dims.N) { return; }
  for (var j = 0u; j < min(4u, dims.N - n); j++) { y[m * dims.N + n + j] = row[j]; }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = 8u * id.x;
  let m = 4u * id.y;
  if (m >= dims.M || n >= dims.N) { return; }

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * (dims.K / 4u);
  let a = min(n + lanes, vec4u(dims.N - 1u)) * dims.K;
  let b = min(n + 4u + lanes, vec4u(dims.N - 1u)) * dims.K;
  let shifts = vec4u(8u, 8u, 24u, 24u);
  let divide = power(127u - shifts);

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  var cl = vec4i();  // bytes 0 and 2 of four words, what is left of them
  var ch = vec4i();
  var dl = vec4i();
  var dh = vec4i();
  var word = 0u;
  var left = 0u;  // trits of each byte
  var k = 0u;  // in units of four
  for (var group = 0u; group < dims.K / GROUP; group++) {
    var s0 = mat2x4f();
    var s1 = mat2x4f();
    var s2 = mat2x4f();
    var s3 = mat2x4f();
    var total = mat4x4f();  // of x, four inputs apart
    for (var step = 0u; step < GROUP / 4u; step++) {
      if (left == 0u) {
        let at = a / 20u + word;
        let bt = b / 20u + word;
        let c = vec4i(i32(codes[at.x]), i32(codes[at.y]), i32(codes[at.z]), i32(codes[at.w]));
        let d = vec4i(i32(codes[bt.x]), i32(codes[bt.y]), i32(codes[bt.z]), i32(codes[bt.w]));
        cl = c & BYTES;
        ch = (c >> vec4u(8u)) & BYTES;
        dl = d & BYTES;
        dh = (d >> vec4u(8u)) & BYTES;
        word++;
        left = 5u;
      }
      let v = mat4x4f(divide * x[rows.x + k], divide * x[rows.y + k],
                      divide * x[rows.z + k], divide * x[rows.w + k]);
      cl *= 3; ch *= 3; dl *= 3; dh *= 3;
      let w0 = mat2x4f(vec4f(cl & vec4i(0x300)), vec4f(dl & vec4i(0x300)));
      let w1 = mat2x4f(vec4f(ch & vec4i(0x300)), vec4f(dh & vec4i(0x300)));
      let w2 = mat2x4f(vec4f(cl & vec4i(0x3000000)), vec4f(dl & vec4i(0x3000000)));
      let w3 = mat2x4f(vec4f(ch & vec4i(0x3000000)), vec4f(dh & vec4i(0x3000000)));
      cl &= BYTES; ch &= BYTES; dl &= BYTES; dh &= BYTES;
      s0 += v[0].x * w0 + v[0].y * w1 + v[0].z * w2 + v[0].w * w3;
      s1 += v[1].x * w0 + v[1].y * w1 + v[1].z * w2 + v[1].w * w3;
      s2 += v[2].x * w0 + v[2].y * w1 + v[2].z * w2 + v[2].w * w3;
      s3 += v[3].x * w0 + v[3].y * w1 + v[3].z * w2 + v[3].w * w3;
      total += v;
      k++;
      left--;
    }
    let ag = a / GROUP + group;
    let bg = b / GROUP + group;
    let ga = mat4x2f(group_at(ag.x), group_at(ag.y), group_at(ag.z), group_at(ag.w));
    let gb = mat4x2f(group_at(bg.x), group_at(bg.y), group_at(bg.z), group_at(bg.w));
    let scale = mat2x4f(transpose(ga)[0], transpose(gb)[0]);
    let rest = mat2x4f(transpose(ga)[1], transpose(gb)[1]);
    let sums = power(127u + shifts) * total;  // each row's
    y0 += mat2x4f(scale[0] * s0[0], scale[1] * s0[1]) + sums.x * rest;
    y1 += mat2x4f(scale[0] * s1[0], scale[1] * s1[1]) + sums.y * rest;
    y2 += mat2x4f(scale[0] * s2[0], scale[1] * s2[1]) + sums.z * rest;
    y3 += mat2x4f(scale[0] * s3[0], scale[1] * s3[1]) + sums.w * rest;
  }
  store(m, n, y0[0]);
  store(m, n + 4u, y0[1]);
  store(m + 1u, n, y1[0]);
  store(m + 1u, n + 4u, y1[1]);
  store(m + 2u, n, y2[0]);
  store(m + 2u, n + 4u, y2[1]);
  store(m + 3u, n, y3[0]);
  store(m + 3u, n + 4u, y3[1]);
}
