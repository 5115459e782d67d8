// linear_packed_few    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ, as linear_packed, for a few rows of x
//
//   x      [M, K] f32
//   grid   N*LANES/256, M, 1
//   needs  BITS 1, 2, 4; LANES a power of two <= 64
//   parts  packed, epilogue
//   oracle tests/oracles.py::linear_packed
//
// LANES threads share four outputs and read neighbouring words of their rows of W: nothing is read
// twice, and on a GPU every transaction is used in full. On a CPU one thread alone is best. Codes are
// masked as in linear_packed.

override LANES: u32 = 1u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;

var<workgroup> partial: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let lanes = vec4u(0u, 1u, 2u, 3u);
  let n = 4u * (group_id.x * (64u / LANES) + lane / LANES);
  let m = group_id.y;
  let rows = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;
  let divide = power(127u - BITS * lanes);
  let multiply = power(127u + BITS * lanes);
  var sums = vec4f();
  for (var run = lane % LANES; run < dims.K / RUN; run += LANES) {
    var c = run_at(rows / WORD, run);
    var k = (m * dims.K + run * RUN) / 4u;
    var s = vec4f();
    var total = vec4f();
    for (var i = 0u; i < RUN; i += 4u) {
      let v = divide * x[k];
      s += v.x * unpack(c, 0u) + v.y * unpack(c, 1u) + v.z * unpack(c, 2u) + v.w * unpack(c, 3u);
      total += v;
      c = c >> vec4u(4u * BITS);
      k++;
    }
    let groups = groups_at(rows / GROUP + run * RUN / GROUP);
    sums += groups[0] * s + groups[1] * dot(total, multiply);
  }
  partial[lane] = sums;
  for (var stride = LANES / 2u; stride > 0u; stride /= 2u) {
    workgroupBarrier();
    if (lane % LANES < stride) { partial[lane] += partial[lane + stride]; }
  }
  if (lane % LANES == 0u) { store(m, n, partial[lane]); }
}
