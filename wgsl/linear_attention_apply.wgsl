// linear_attention_apply    o[t,h] = Sᵀ relu(q[t,h]) / (z · relu(q[t,h]) + 1e-15)    per head
//
//   q      [T, width] f32; head h of a token is DH columns from q_at + h*step on
//   sums   [H, DH+1, DH] f32: S, and z in the last row, over all tokens (linear_attention_merge)
//   o      [T, H, DH] f32
//   grid   T/32, H, 1
//   needs  DH % 4 == 0, DH <= 64; width, step and q_at multiples of 4
//   oracle tests/oracles.py::linear_attention_apply
//
// Four tokens by four columns a thread, so that a row of S is read once for four tokens.

override DH: u32 = 32u;

const EPS = 1e-15;

struct Dims { T: u32, H: u32, width: u32, step: u32, q_at: u32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> sums: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4f>;

fn query(at: u32) -> vec4f {
  return max(q[at], vec4f());
}

@compute @workgroup_size(DH / 4u, 8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
  let columns = DH / 4u;
  let token = 32u * group.x + 4u * lane.y + vec4u(0u, 1u, 2u, 3u);
  let at = min(token, vec4u(dims.T - 1u)) * (dims.width / 4u)
    + (dims.q_at + group.y * dims.step) / 4u;
  let head = group.y * (DH + 1u) * columns;

  var above = mat4x4f();  // a token a column
  var below = vec4f();
  for (var d = 0u; d < columns; d++) {
    let s = head + 4u * d * columns + lane.x;
    let rows = mat4x4f(sums[s], sums[s + columns], sums[s + 2u * columns], sums[s + 3u * columns]);
    let queries = mat4x4f(query(at.x + d), query(at.y + d), query(at.z + d), query(at.w + d));
    above += rows * queries;
    below += sums[head + DH * columns + d] * queries;
  }
  for (var i = 0u; i < 4u; i++) {
    if (token[i] < dims.T) {
      o[(token[i] * dims.H + group.y) * columns + lane.x] = above[i] / (below[i] + EPS);
    }
  }
}
