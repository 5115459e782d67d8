// part epilogue    y[M,N] from a product r[M,N]
//
//   bias   [N_all] f32, read if BIAS: r += bias[n0+n]
//   ACT    0: none, 1: silu, 2: gelu_tanh, 3: quick_gelu, 4: relu; of r, but for EPILOGUE 2
//   gate   f32, read for EPILOGUE 3 alone
//   y      [M, N] f32. EPILOGUE 0: y = r; 1: y += r; 2: y = ACT(y) * r;
//          3: y += gate[gate_at+n] * r

override BIAS: bool = false;
override ACT: u32 = 0u;
override EPILOGUE: u32 = 0u;

@group(0) @binding(5) var<storage, read> bias: array<f32>;
@group(0) @binding(6) var<storage, read> gate: array<f32>;
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

fn gated(v: f32, z: f32) -> f32 {  // v * sigmoid(z)
  return v / (1.0 + exp(min(-z, 87.0)));  // exp must not reach infinity
}

fn activate(v: f32) -> f32 {
  switch (ACT) {
    case 1u: { return gated(v, v); }
    case 2u: { return gated(v, 1.5957691 * (v + 0.044715 * v * v * v)); }  // 2 sqrt(2/pi)
    case 3u: { return gated(v, 1.702 * v); }
    case 4u: { return max(v, 0.0); }
    default: { return v; }
  }
}

fn put(at: u32, n: u32, product: f32) {
  var r = product;
  if (BIAS) { r += bias[dims.n0 + n]; }
  if (EPILOGUE != 2u) { r = activate(r); }
  switch (EPILOGUE) {
    case 1u: { y[at] += r; }
    case 2u: { y[at] = activate(y[at]) * r; }
    case 3u: { y[at] += gate[dims.gate_at + n] * r; }
    default: { y[at] = r; }
  }
}

fn store(m: u32, n: u32, row: vec4f) {
  if (m >= dims.M || n >= dims.N) { return; }
  for (var j = 0u; j < min(4u, dims.N - n); j++) { put(m * dims.N + n + j, n + j, row[j]); }
}

fn store_eight(m: u32, n: u32, row: mat2x4f) {
  store(m, n, row[0]);
  store(m, n + 4u, row[1]);
}
