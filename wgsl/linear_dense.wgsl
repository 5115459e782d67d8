// linear_dense    y[M,N] = x[M,K] · W[n0+n, k0+k]ᵀ
//
//   W[n,k] float
//   x      [M, K] f32
//   w      [N_all, K_all] floats of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   grid   N/32, M/32, 1
//   needs  K, K_all and k0 multiples of 4
//   parts  epilogue
//   oracle tests/oracles.py::linear_dense
//
// Every thread holds a 4x4 tile of y in registers.

override FORMAT: u32 = 1u;

struct Dims { M: u32, N: u32, K: u32, K_all: u32, n0: u32, k0: u32, gate_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<u32>;

fn floats_at(i: u32) -> vec4f {  // i..i+3, i % 4 == 0
  if (FORMAT == 0u) { return bitcast<vec4f>(vec4u(w[i], w[i + 1u], w[i + 2u], w[i + 3u])); }
  let a = w[i / 2u];
  let b = w[i / 2u + 1u];
  if (FORMAT == 1u) {
    return bitcast<vec4f>(vec4u(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
  }
  return vec4f(unpack2x16float(a), unpack2x16float(b));
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = 4u * id.x;
  let m = 4u * id.y;
  if (m >= dims.M || n >= dims.N) { return; }

  let lanes = vec4u(0u, 1u, 2u, 3u);
  let rows = min(m + lanes, vec4u(dims.M - 1u)) * (dims.K / 4u);
  let weights = (dims.n0 + min(n + lanes, vec4u(dims.N - 1u))) * dims.K_all + dims.k0;

  var y0 = vec4f();
  var y1 = vec4f();
  var y2 = vec4f();
  var y3 = vec4f();
  for (var k = 0u; k < dims.K / 4u; k++) {
    let tile = mat4x4f(floats_at(weights.x + 4u * k), floats_at(weights.y + 4u * k),
                       floats_at(weights.z + 4u * k), floats_at(weights.w + 4u * k));
    y0 += x[rows.x + k] * tile;
    y1 += x[rows.y + k] * tile;
    y2 += x[rows.z + k] * tile;
    y3 += x[rows.w + k] * tile;
  }
  store(m, n, y0);
  store(m + 1u, n, y1);
  store(m + 2u, n, y2);
  store(m + 3u, n, y3);
}
