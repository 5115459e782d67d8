// group_norm_stats    partials[first+c, g] = (mean, sum of squared deviations) of chunk c, group g
//
//   x        [P, C] f32: P pixels, channels last, G groups of C/G neighbouring channels
//   partials [*, G, 2] f32; a chunk is `chunk` pixels, the last may be short
//   grid   G, P/chunk, 1
//   needs  C % G == 0
//   oracle tests/oracles.py::group_norm_stats
//
// One workgroup a chunk and group. The corrected two-pass algorithm (Chan, Golub and LeVeque 1983):
// the second sweep mends the first one's mean, so an offset of many deviations costs no digits.

const WG = 64u;

struct Dims { P: u32, C: u32, G: u32, chunk: u32, first: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> partials: array<vec2f>;

var<workgroup> partial: array<vec2f, WG>;

fn sum(value: vec2f, lane: u32) -> vec2f {
  workgroupBarrier();  // the last sum has been read by all
  partial[lane] = value;
  workgroupBarrier();
  for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) { partial[lane] += partial[lane + stride]; }
    workgroupBarrier();
  }
  return partial[0];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let width = dims.C / dims.G;
  let first = id.y * dims.chunk;
  let pixels = min(dims.chunk, dims.P - first);
  let count = f32(pixels * width);
  let base = first * dims.C + id.x * width;

  var mean = 0.0;
  var squares = 0.0;
  for (var sweep = 0u; sweep < 2u; sweep++) {
    var moments = vec2f();  // sums of deviation and its square
    for (var pixel = lane; pixel < pixels; pixel += WG) {
      for (var c = 0u; c < width; c++) {
        let deviation = x[base + pixel * dims.C + c] - mean;
        moments += vec2f(deviation, deviation * deviation);
      }
    }
    moments = sum(moments, lane);
    mean += moments.x / count;
    squares = moments.y - moments.x * moments.x / count;
  }
  if (lane == 0u) { partials[(dims.first + id.y) * dims.G + id.x] = vec2f(mean, squares); }
}
