// linear_grouped    y[y0+p, c] = sum over k < K of w[c, k] * x[x0+p, c/K*K + k]
//
//   groups of K channels, each with a matrix [K, K] of its own: a grouped 1x1 convolution
//   x, y   [*, C] f32, P pixels of each
//   w      [C, K] f32
//   grid   P*C/256 stride
//   needs  K % 4 == 0; C % K == 0
//   oracle tests/oracles.py::linear_grouped
//
// A thread takes four channels of a pixel.

struct Dims { P: u32, C: u32, K: u32, x0: u32, y0: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let quads = dims.C / 4u;
  let depth = dims.K / 4u;
  for (var i = id.x; i < dims.P * quads; i += 64u * groups.x) {
    let quad = i % quads;
    let first = dims.x0 * quads + i - quad + quad / depth * depth;  // of this pixel's group
    let filters = 4u * quad * depth;
    var value = vec4f();
    for (var k = 0u; k < depth; k++) {
      let input = x[first + k];
      value += vec4f(dot(w[filters + k], input), dot(w[filters + depth + k], input),
                     dot(w[filters + 2u * depth + k], input),
                     dot(w[filters + 3u * depth + k], input));
    }
    y[dims.y0 * quads + i] = value;
  }
}
