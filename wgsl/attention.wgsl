// attention    o[Tq, Hq*DH] = softmax(s) v    per head, s = cap(scale * q kᵀ) + bias
//
//   cap(s) = SOFTCAP * tanh(s / SOFTCAP), or s where SOFTCAP is 0
//   keys j < valid, j <= q0 + i for query i if CAUSAL, j > q0 + i - WINDOW if WINDOW; o is 0
//   for a query that has none
//   q      [Tq, Hq, DH] f32
//   k, v   [Tk, Hkv, DH] f32; query head h uses key head h*Hkv/Hq
//   bias   [Hq, distances] f32, of key j and query i at distances - Tk + j - (q0 + i), if BIAS;
//          else not read
//   o      [Tq, Hq, DH] f32
//   grid   Tq/8, Hq, 1
//   needs  1 <= valid <= Tk; Hq % Hkv == 0; DH % 4 == 0, DH <= 1024
//   oracle tests/oracles.py::attention
//
// Online softmax (Milakov and Gimelshein 2018) over tiles of DH/4 keys. A workgroup has eight
// queries, which all its threads read together. A thread first scores them against one key of the
// tile, then adds all keys of the tile to four columns of o. Names: low are queries 0..3, high 4..7.

override DH: u32 = 128u;
override CAUSAL: bool = false;
override WINDOW: u32 = 0u;
override SOFTCAP: f32 = 0.0;
override BIAS: bool = false;

const LOWEST = -1e30;  // finite: infinities may not survive a shader compiler
const NOTHING = 1e-30;  // the least total; a query's highest key alone counts 1

struct Dims {
  Tq: u32, Tk: u32, Hq: u32, Hkv: u32, valid: u32, q0: u32, scale: f32, distances: u32
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;

var<workgroup> low_tile: array<vec4f, DH / 4u>;  // a key's scores, later their exponentials
var<workgroup> high_tile: array<vec4f, DH / 4u>;

fn cap(score: vec4f) -> vec4f {  // by exp: WGSL lets tanh be off by 1e-5
  let e = exp(-2.0 * abs(score / SOFTCAP));
  return SOFTCAP * sign(score) * ((1.0 - e) / (1.0 + e));
}

fn score_of(dot: vec4f, head: u32, key: u32, query: vec4u) -> vec4f {
  var score = dims.scale * dot;
  if (SOFTCAP > 0.0) { score = cap(score); }
  if (BIAS) {
    let at = (head + 1u) * dims.distances - dims.Tk + key - (dims.q0 + query);
    score += vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
  }
  return score;
}

fn seen(key: u32, end: u32, query: vec4u) -> vec4<bool> {
  let at = dims.q0 + query;
  return vec4<bool>(key < end) & (vec4<bool>(!CAUSAL) | (vec4u(key) <= at))
    & (vec4<bool>(WINDOW == 0u) | (vec4u(key + WINDOW) > at));
}

fn scaled(o: mat4x4f, factor: vec4f) -> mat4x4f {  // each query's row
  return mat4x4f(factor.x * o[0], factor.y * o[1], factor.z * o[2], factor.w * o[3]);
}

fn outer(p: vec4f, value: vec4f) -> mat4x4f {
  return mat4x4f(p.x * value, p.y * value, p.z * value, p.w * value);
}

fn store(query: u32, at: u32, value: vec4f) {
  if (query < dims.Tq) { o[at] = value; }
}

@compute @workgroup_size(DH / 4u)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let lanes = DH / 4u;
  let low_query = 8u * group.x + vec4u(0u, 1u, 2u, 3u);
  let high_query = low_query + 4u;
  let low_q = (min(low_query, vec4u(dims.Tq - 1u)) * dims.Hq + group.y) * lanes;
  let high_q = (min(high_query, vec4u(dims.Tq - 1u)) * dims.Hq + group.y) * lanes;
  let head = group.y * dims.Hkv / dims.Hq;
  var end = dims.valid;
  if (CAUSAL) { end = min(end, dims.q0 + 8u * group.x + 8u); }

  var low_peak = vec4f(LOWEST);
  var high_peak = vec4f(LOWEST);
  var low_total = vec4f();  // over this thread's keys
  var high_total = vec4f();
  var low = mat4x4f();  // four columns of o, a query a vector
  var high = mat4x4f();
  for (var start = 0u; start < end; start += lanes) {
    let k_at = (min(start + lane, end - 1u) * dims.Hkv + head) * lanes;
    var low_score = vec4f();
    var high_score = vec4f();
    for (var d = 0u; d < lanes; d++) {
      let key = k[k_at + d];
      low_score += key * mat4x4f(q[low_q.x + d], q[low_q.y + d], q[low_q.z + d], q[low_q.w + d]);
      high_score += key
        * mat4x4f(q[high_q.x + d], q[high_q.y + d], q[high_q.z + d], q[high_q.w + d]);
    }
    let low_seen = seen(start + lane, end, low_query);
    let high_seen = seen(start + lane, end, high_query);
    low_score = select(vec4f(LOWEST),
      score_of(low_score, group.y, start + lane, low_query), low_seen);
    high_score = select(vec4f(LOWEST),
      score_of(high_score, group.y, start + lane, high_query), high_seen);
    low_tile[lane] = low_score;
    high_tile[lane] = high_score;
    workgroupBarrier();

    var low_top = low_peak;
    var high_top = high_peak;
    for (var c = 0u; c < lanes; c++) {
      low_top = max(low_top, low_tile[c]);
      high_top = max(high_top, high_tile[c]);
    }
    workgroupBarrier();
    let low_p = select(vec4f(), exp(low_score - low_top), low_seen);
    let high_p = select(vec4f(), exp(high_score - high_top), high_seen);
    low_tile[lane] = low_p;
    high_tile[lane] = high_p;
    workgroupBarrier();

    let low_shrink = exp(low_peak - low_top);
    let high_shrink = exp(high_peak - high_top);
    low_peak = low_top;
    high_peak = high_top;
    low_total = low_total * low_shrink + low_p;
    high_total = high_total * high_shrink + high_p;
    low = scaled(low, low_shrink);
    high = scaled(high, high_shrink);
    for (var c = 0u; c < min(lanes, end - start); c++) {
      let value = v[((start + c) * dims.Hkv + head) * lanes + lane];
      low += outer(low_tile[c], value);
      high += outer(high_tile[c], value);
    }
    workgroupBarrier();
  }

  low_tile[lane] = low_total;
  high_tile[lane] = high_total;
  workgroupBarrier();
  low_total = vec4f();
  high_total = vec4f();
  for (var c = 0u; c < lanes; c++) {
    low_total += low_tile[c];
    high_total += high_tile[c];
  }
  low = scaled(low, 1.0 / max(low_total, vec4f(NOTHING)));
  high = scaled(high, 1.0 / max(high_total, vec4f(NOTHING)));
  for (var i = 0u; i < 4u; i++) {
    store(low_query[i], low_q[i] + lane, low[i]);
    store(high_query[i], high_q[i] + lane, high[i]);
  }
}
