// linear_packed    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, W being packed
//
//   x      [M, K] f32
//   grid   N/64, M/32, 1
//   parts  packed, epilogue
//   oracle tests/oracles.py::linear_packed
//
// Every thread holds 4 rows by 8 columns of y in registers. A code is masked, not shifted: its place
// in the word multiplies it by a power of two, by which the input is divided instead. The codes'
// zero is made good once a span, by the sum of the inputs.

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = 8u * id.x;
  let m = 4u * id.y;
  if (m >= dims.M || n >= dims.N) { return; }

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * (dims.K / 4u);
  let a = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let b = (dims.n0 + min(n + 4u + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let shifts = select(BITS * lanes, vec4u(0u), BITS == 8u);
  let divide = power(127u - shifts);

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  var k = 0u;  // in units of four
  for (var span = 0u; span < dims.K / SPAN; span++) {
    var s0 = mat2x4f();
    var s1 = mat2x4f();
    var s2 = mat2x4f();
    var s3 = mat2x4f();
    var total = mat4x4f();  // of x, four inputs apart
    for (var run = span * (SPAN / RUN); run < (span + 1u) * (SPAN / RUN); run++) {
      var c = run_at(a / WORD, run);
      var d = run_at(b / WORD, run);
      for (var i = 0u; i < RUN; i += 4u) {
        let v = mat4x4f(divide * x[rows.x + k], divide * x[rows.y + k],
                        divide * x[rows.z + k], divide * x[rows.w + k]);
        let w0 = mat2x4f(unpack(c, 0u), unpack(d, 0u));
        let w1 = mat2x4f(unpack(c, 1u), unpack(d, 1u));
        let w2 = mat2x4f(unpack(c, 2u), unpack(d, 2u));
        let w3 = mat2x4f(unpack(c, 3u), unpack(d, 3u));
        s0 += v[0].x * w0 + v[0].y * w1 + v[0].z * w2 + v[0].w * w3;
        s1 += v[1].x * w0 + v[1].y * w1 + v[1].z * w2 + v[1].w * w3;
        s2 += v[2].x * w0 + v[2].y * w1 + v[2].z * w2 + v[2].w * w3;
        s3 += v[3].x * w0 + v[3].y * w1 + v[3].z * w2 + v[3].w * w3;
        total += v;
        c = c >> vec4u(4u * BITS % 32u);
        d = d >> vec4u(4u * BITS % 32u);
        k++;
      }
    }
    let ga = groups_at((a + span * SPAN) / GROUP);
    let gb = groups_at((b + span * SPAN) / GROUP);
    let rest = mat2x4f(ga[1], gb[1]);
    let sums = power(127u + shifts) * total;  // each row's
    y0 += mat2x4f(ga[0] * s0[0], gb[0] * s0[1]) + sums.x * rest;
    y1 += mat2x4f(ga[0] * s1[0], gb[0] * s1[1]) + sums.y * rest;
    y2 += mat2x4f(ga[0] * s2[0], gb[0] * s2[1]) + sums.z * rest;
    y3 += mat2x4f(ga[0] * s3[0], gb[0] * s3[1]) + sums.w * rest;
  }
  store_eight(m, n, y0);
  store_eight(m + 1u, n, y1);
  store_eight(m + 2u, n, y2);
  store_eight(m + 3u, n, y3);
}
