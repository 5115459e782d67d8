// group_norm_merge    stats[g] = (mean, 1 / sqrt(var + eps)) from the chunks' partials
//
//   partials [ceil(P/chunk), G, 2] f32: mean, sum of squared deviations; the last may be short
//   stats    [G, 2] f32
//   grid   G/64, 1, 1
//   oracle tests/oracles.py::group_norm_merge
//
// Chan's merge of all chunks at once: squares = sum of squares_c + n_c (mean_c - mean)², the mean
// itself summed around the first chunk's.

struct Dims { P: u32, C: u32, G: u32, chunk: u32, eps: f32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> partials: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec2f>;

fn share(chunk: u32) -> f32 {  // of all pixels
  return f32(min(dims.chunk, dims.P - chunk * dims.chunk)) / f32(dims.P);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let g = id.x;
  if (g >= dims.G) { return; }
  let chunks = (dims.P + dims.chunk - 1u) / dims.chunk;

  let origin = partials[g].x;
  var shift = 0.0;
  for (var c = 0u; c < chunks; c++) { shift += share(c) * (partials[c * dims.G + g].x - origin); }
  let mean = origin + shift;

  let count = f32(dims.P) * f32(dims.C / dims.G);
  var variance = 0.0;
  for (var c = 0u; c < chunks; c++) {
    let part = partials[c * dims.G + g];
    let deviation = part.x - mean;
    variance += part.y / count + share(c) * deviation * deviation;
  }
  stats[g] = vec2f(mean, 1.0 / sqrt(variance + dims.eps));
}
