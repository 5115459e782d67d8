// linear_packed_subgroup    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed
//
//   x      [M, K] f32
//   grid   N/256, M/4, 1
//   needs  BITS 1, 2, 4; subgroups of 8 invocations or more
//   parts  packed, epilogue
//   oracle tests/oracles.py::linear_packed
//
// Every thread holds 4 rows by 8 columns of y in registers. A workgroup's threads share their rows:
// each reads one of eight inputs, and the subgroup passes it on. Codes as in linear_packed.

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;

// One input of four rows, times its weights in eight columns.
fn add(s0: ptr<function, mat2x4f>, s1: ptr<function, mat2x4f>, s2: ptr<function, mat2x4f>,
       s3: ptr<function, mat2x4f>, v: vec4f, w: mat2x4f) {
  *s0 += v.x * w;
  *s1 += v.y * w;
  *s2 += v.z * w;
  *s3 += v.w * w;
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_index) lane: u32,
        @builtin(subgroup_invocation_id) place: u32) {
  let n = 8u * (32u * group_id.x + lane);
  let m = 4u * group_id.y;

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * dims.K + (place & 7u);
  let a = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let b = (dims.n0 + min(n + 4u + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let divide = power(127u - vec4u((place & 3u) * BITS));
  let times = power(127u + BITS * lanes);

  var y0 = mat2x4f();
  var y1 = mat2x4f();
  var y2 = mat2x4f();
  var y3 = mat2x4f();
  var k = 0u;
  for (var span = 0u; span < dims.K / SPAN; span++) {
    var s0 = mat2x4f();
    var s1 = mat2x4f();
    var s2 = mat2x4f();
    var s3 = mat2x4f();
    var total = vec4f();  // of each row's inputs
    for (var run = span * (SPAN / RUN); run < (span + 1u) * (SPAN / RUN); run++) {
      var c = run_at(a / WORD, run);
      var d = run_at(b / WORD, run);
      for (var i = 0u; i < RUN; i += 8u) {
        let v = divide * vec4f(x[rows.x + k], x[rows.y + k], x[rows.z + k], x[rows.w + k]);
        let c4 = c >> vec4u(4u * BITS);
        let d4 = d >> vec4u(4u * BITS);
        let v0 = subgroupBroadcast(v, 0u);
        add(&s0, &s1, &s2, &s3, v0, mat2x4f(unpack(c, 0u), unpack(d, 0u)));
        let v1 = subgroupBroadcast(v, 1u);
        add(&s0, &s1, &s2, &s3, v1, mat2x4f(unpack(c, 1u), unpack(d, 1u)));
        let v2 = subgroupBroadcast(v, 2u);
        add(&s0, &s1, &s2, &s3, v2, mat2x4f(unpack(c, 2u), unpack(d, 2u)));
        let v3 = subgroupBroadcast(v, 3u);
        add(&s0, &s1, &s2, &s3, v3, mat2x4f(unpack(c, 3u), unpack(d, 3u)));
        let v4 = subgroupBroadcast(v, 4u);
        add(&s0, &s1, &s2, &s3, v4, mat2x4f(unpack(c4, 0u), unpack(d4, 0u)));
        let v5 = subgroupBroadcast(v, 5u);
        add(&s0, &s1, &s2, &s3, v5, mat2x4f(unpack(c4, 1u), unpack(d4, 1u)));
        let v6 = subgroupBroadcast(v, 6u);
        add(&s0, &s1, &s2, &s3, v6, mat2x4f(unpack(c4, 2u), unpack(d4, 2u)));
        let v7 = subgroupBroadcast(v, 7u);
        add(&s0, &s1, &s2, &s3, v7, mat2x4f(unpack(c4, 3u), unpack(d4, 3u)));
        total += v0 + v4 + times.y * (v1 + v5) + times.z * (v2 + v6) + times.w * (v3 + v7);
        c = c >> vec4u(8u * BITS % 32u);
        d = d >> vec4u(8u * BITS % 32u);
        k += 8u;
      }
    }
    let ga = groups_at((a + span * SPAN) / GROUP);
    let gb = groups_at((b + span * SPAN) / GROUP);
    let rest = mat2x4f(ga[1], gb[1]);
    y0 += mat2x4f(ga[0] * s0[0], gb[0] * s0[1]) + total.x * rest;
    y1 += mat2x4f(ga[0] * s1[0], gb[0] * s1[1]) + total.y * rest;
    y2 += mat2x4f(ga[0] * s2[0], gb[0] * s2[1]) + total.z * rest;
    y3 += mat2x4f(ga[0] * s3[0], gb[0] * s3[1]) + total.w * rest;
  }
  store_eight(m, n, y0);
  store_eight(m + 1u, n, y1);
  store_eight(m + 2u, n, y2);
  store_eight(m + 3u, n, y3);
}
