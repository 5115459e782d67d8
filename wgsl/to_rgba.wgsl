// to_rgba    rgba[p] = r | g<<8 | b<<16 | a<<24
//
//   r, g, b each round_half_even(clamp(x/2 + 0.5, 0, 1) * 255)
//   a       255; 0 where an x is NaN or infinite, and then r = g = b = 0
//   x      [P, 3] f32
//   rgba   [P] u32
//   grid   P/256 stride
//   oracle tests/oracles.py::to_rgba

struct Dims { P: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> rgba: array<u32>;

// By its exponent: compilers may take it for granted that no float is NaN.
fn finite(x: vec3f) -> bool {
  return all((bitcast<vec3u>(x) & vec3u(0x7f800000u)) != vec3u(0x7f800000u));
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var p = id.x; p < dims.P; p += 256u * groups.x) {
    let colour = vec3f(x[3u * p], x[3u * p + 1u], x[3u * p + 2u]);
    let bytes = vec3u(round(clamp(colour * 0.5 + 0.5, vec3f(0.0), vec3f(1.0)) * 255.0));
    let pixel = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | 0xff000000u;
    rgba[p] = select(0u, pixel, finite(colour));
  }
}
