// linear_attention_sums    partials[first+s,h] = sum over tokens of slice s of relu(k) (v, 1)ᵀ
//
//   k, v     [T, width] f32; head h of a token is DH columns from k_at + h*step, v_at + h*step on
//   partials [*, H, DH+1, DH] f32: row j has the sum of k[j] v, row DH that of k; a slice is
//            `slice` tokens, the last may be short
//   grid   H, T/slice, 1
//   needs  DH % 4 == 0, DH <= 64; width, step, k_at and v_at multiples of 4
//   oracle tests/oracles.py::linear_attention_sums
//
// Four rows by four columns a thread. Tokens are summed by BLOCK before they meet the others: a
// long sum in f32 loses fewer digits.

override DH: u32 = 32u;

const BLOCK = 16u;

struct Dims {
  T: u32, H: u32, slice: u32, first: u32, width: u32, step: u32, k_at: u32, v_at: u32
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

@compute @workgroup_size(DH / 4u, DH / 4u)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let row = dims.width / 4u;
  let k_at = (dims.k_at + group.x * dims.step) / 4u + lane.y;
  let v_at = (dims.v_at + group.x * dims.step) / 4u + lane.x;
  let end = min((group.y + 1u) * dims.slice, dims.T);

  var products = mat4x4f();
  var total = vec4f();
  for (var start = group.y * dims.slice; start < end; start += BLOCK) {
    var block = mat4x4f();
    var keys = vec4f();
    for (var t = start; t < min(start + BLOCK, end); t++) {
      let key = max(k[t * row + k_at], vec4f());
      let value = v[t * row + v_at];
      block += mat4x4f(key.x * value, key.y * value, key.z * value, key.w * value);
      keys += key;
    }
    products += block;
    total += keys;
  }

  let columns = DH / 4u;
  let at = ((dims.first + group.y) * dims.H + group.x) * (DH + 1u) * columns;
  for (var j = 0u; j < 4u; j++) {
    partials[at + (4u * lane.y + j) * columns + lane.x] = products[j];
  }
  if (lane.x == 0u) { partials[at + DH * columns + lane.y] = total; }
}
