// attention_4    o[Tq, Hq*DH] = softmax(scale * q kᵀ) v    per head
// Timing, 320 tokens, 4 heads of 64, CPU ms of the GPU process: SwiftShader 177, lavapipe 57 (attention 141, 51;
// attention_tiled 210, 52); 200 tokens, 2 heads of 128: 69, 23 (attention 59, 20). Four queries a thread.
//
//   keys j < valid, and j <= q0 + i for query i if CAUSAL
//   q      [Tq, Hq, DH] f32
//   k, v   [Tk, Hkv, DH] f32; query head h uses key head h*Hkv/Hq
//   o      [Tq, Hq, DH] f32
//   grid   Tq/QUERIES, Hq, 1
//   needs  1 <= valid <= Tk; Hq % Hkv == 0; DH % 4 == 0, QUERIES % 4 == 0, DH*QUERIES <= 4096
//   oracle tests/oracles.py::attention
//
// Online softmax (Milakov and Gimelshein 2018) over tiles of DH/4 keys. A thread first scores its
// four queries against one key of the tile, then adds all keys of the tile to four columns of o.

override DH: u32 = 128u;
override CAUSAL: bool = false;
override QUERIES: u32 = 8u;

const LOWEST = -1e30;  // finite: infinities may not survive a shader compiler

struct Dims { Tq: u32, Tk: u32, Hq: u32, Hkv: u32, valid: u32, q0: u32, scale: f32 }

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4f>;

var<workgroup> tile: array<vec4f, DH * QUERIES / 16u>;  // [QUERIES/4, DH/4] scores of four queries

@compute @workgroup_size(DH / 4u, QUERIES / 4u)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let lanes = DH / 4u;
  let lane = local.x;
  let base = local.y * lanes;
  let first = group.x * QUERIES;
  let query = first + 4u * local.y + vec4u(0u, 1u, 2u, 3u);
  let q_at = (min(query, vec4u(dims.Tq - 1u)) * dims.Hq + group.y) * lanes;
  let head = group.y * dims.Hkv / dims.Hq;
  var end = dims.valid;
  if (CAUSAL) { end = min(end, dims.q0 + first + QUERIES); }

  var peak = vec4f(LOWEST);
  var total = vec4f();
  var o0 = vec4f();
  var o1 = vec4f();
  var o2 = vec4f();
  var o3 = vec4f();
  for (var start = 0u; start < end; start += lanes) {
    let key = start + lane;
    let k_at = (min(key, end - 1u) * dims.Hkv + head) * lanes;
    var score = vec4f();
    for (var d = 0u; d < lanes; d++) {
      score += k[k_at + d] * mat4x4f(q[q_at.x + d], q[q_at.y + d], q[q_at.z + d], q[q_at.w + d]);
    }
    let seen = vec4<bool>(key < end) & (vec4<bool>(!CAUSAL) | (vec4u(key) <= dims.q0 + query));
    score = select(vec4f(LOWEST), dims.scale * score, seen);
    tile[base + lane] = score;
    workgroupBarrier();

    var top = peak;
    for (var c = 0u; c < lanes; c++) { top = max(top, tile[base + c]); }
    workgroupBarrier();
    tile[base + lane] = select(vec4f(), exp(score - top), seen);
    workgroupBarrier();

    let shrink = exp(peak - top);
    peak = top;
    total *= shrink;
    o0 *= shrink.x;
    o1 *= shrink.y;
    o2 *= shrink.z;
    o3 *= shrink.w;
    for (var c = 0u; c < min(lanes, end - start); c++) {
      let p = tile[base + c];
      let value = v[((start + c) * dims.Hkv + head) * lanes + lane];
      total += p;
      o0 += p.x * value;
      o1 += p.y * value;
      o2 += p.z * value;
      o3 += p.w * value;
    }
    workgroupBarrier();
  }
  if (query.x < dims.Tq) { o[q_at.x + lane] = o0 / total.x; }
  if (query.y < dims.Tq) { o[q_at.y + lane] = o1 / total.y; }
  if (query.z < dims.Tq) { o[q_at.z + lane] = o2 / total.z; }
  if (query.w < dims.Tq) { o[q_at.w + lane] = o3 / total.w; }
}
