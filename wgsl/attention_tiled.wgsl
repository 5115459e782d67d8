// attention_tiled    o[Tq, Hq*DH] = softmax(s) v    per head, s = cap(scale * q kᵀ) + bias
//
//   cap(s) = SOFTCAP * tanh(s / SOFTCAP), or s where SOFTCAP is 0
//   keys j < valid, j <= q0 + i for query i if CAUSAL, j > q0 + i - WINDOW if WINDOW; o is 0
//   for a query that has none
//   q      [Tq, Hq, DH] f32
//   k, v   [Tk, Hkv, DH] f32; query head h uses key head h*Hkv/Hq
//   bias   [Hq, distances] f32, of key j and query i at distances - Tk + j - (q0 + i), if BIAS;
//          else not read
//   o      [Tq, Hq, DH] f32
//   grid   Tq/QUERIES, Hq, 1
//   needs  1 <= valid <= Tk; Hq % Hkv == 0; DH % 16 == 0, QUERIES % 8 == 0, DH*QUERIES <= 8192;
//          64*QUERIES + 16*DH + DH*QUERIES <= 16384
//   oracle tests/oracles.py::attention
//
// Flash attention (Dao and others 2022) over tiles of DH/4 keys. A thread scores its eight queries
// against one key of the tile, four times four dimensions of queries and keys being in workgroup
// memory, then adds all keys of the tile to four columns of o. v is read as it lies: neighbouring
// threads read neighbouring vectors, each for eight queries.

override DH: u32 = 128u;
override CAUSAL: bool = false;
override WINDOW: u32 = 0u;
override SOFTCAP: f32 = 0.0;
override BIAS: bool = false;
override QUERIES: u32 = 32u;

const LOWEST = -1e30;  // finite: infinities may not survive a shader compiler
const NOTHING = 1e-30;  // the least total; a query's highest key alone counts 1
const DEPTH = 4u;  // vectors of four dimensions

struct Dims {
  Tq: u32, Tk: u32, Hq: u32, Hkv: u32, valid: u32, q0: u32, scale: f32, distances: u32
}

@group(0) @binding(0) var<uniform> dims: Dims;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> o: array<vec4f>;

var<workgroup> qs: array<vec4f, DEPTH * QUERIES>;       // [DEPTH, QUERIES]
var<workgroup> ks: array<vec4f, DEPTH * DH / 4u>;       // [DEPTH, DH/4]
var<workgroup> tile: array<vec4f, DH * QUERIES / 16u>;  // [QUERIES/4, DH/4] scores of four queries

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

fn store(query: u32, head: u32, lane: u32, value: vec4f) {
  if (query < dims.Tq) { o[(query * dims.Hq + head) * (DH / 4u) + lane] = value; }
}

@compute @workgroup_size(DH / 4u, QUERIES / 8u)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u,
        @builtin(local_invocation_index) index: u32) {
  let keys = DH / 4u;  // of a tile, and vectors of a head
  let threads = DH / 4u * (QUERIES / 8u);
  let lane = local.x;
  let low_at = 2u * local.y * keys;  // scores of queries 0..3 of this thread's
  let high_at = low_at + keys;
  let first = group.x * QUERIES;
  let low_query = first + 8u * local.y + vec4u(0u, 1u, 2u, 3u);
  let high_query = low_query + 4u;
  let head = group.y * dims.Hkv / dims.Hq;
  var end = dims.valid;
  if (CAUSAL) { end = min(end, dims.q0 + first + QUERIES); }

  var low_peak = vec4f(LOWEST);
  var high_peak = vec4f(LOWEST);
  var low_total = vec4f();  // over this thread's keys
  var high_total = vec4f();
  var low = mat4x4f();  // four columns of o for queries 0..3, a query a vector
  var high = mat4x4f();
  for (var start = 0u; start < end; start += keys) {
    var low_score = vec4f();
    var high_score = vec4f();
    for (var d = 0u; d < keys; d += DEPTH) {
      for (var i = index; i < DEPTH * QUERIES; i += threads) {
        let query = min(first + i / DEPTH, dims.Tq - 1u);
        qs[i % DEPTH * QUERIES + i / DEPTH] = q[(query * dims.Hq + group.y) * keys + d + i % DEPTH];
      }
      for (var i = index; i < DEPTH * keys; i += threads) {
        let key = min(start + i / DEPTH, end - 1u);
        ks[i % DEPTH * keys + i / DEPTH] = k[(key * dims.Hkv + head) * keys + d + i % DEPTH];
      }
      workgroupBarrier();
      for (var e = 0u; e < DEPTH; e++) {
        let key = ks[e * keys + lane];
        let at = e * QUERIES + 8u * local.y;
        low_score += key * mat4x4f(qs[at], qs[at + 1u], qs[at + 2u], qs[at + 3u]);
        high_score += key * mat4x4f(qs[at + 4u], qs[at + 5u], qs[at + 6u], qs[at + 7u]);
      }
      workgroupBarrier();
    }
    let low_seen = seen(start + lane, end, low_query);
    let high_seen = seen(start + lane, end, high_query);
    low_score = select(vec4f(LOWEST),
      score_of(low_score, group.y, start + lane, low_query), low_seen);
    high_score = select(vec4f(LOWEST),
      score_of(high_score, group.y, start + lane, high_query), high_seen);
    tile[low_at + lane] = low_score;
    tile[high_at + lane] = high_score;
    workgroupBarrier();

    var low_top = low_peak;
    var high_top = high_peak;
    for (var c = 0u; c < keys; c++) {
      low_top = max(low_top, tile[low_at + c]);
      high_top = max(high_top, tile[high_at + c]);
    }
    workgroupBarrier();
    let low_p = select(vec4f(), exp(low_score - low_top), low_seen);
    let high_p = select(vec4f(), exp(high_score - high_top), high_seen);
    tile[low_at + lane] = low_p;
    tile[high_at + lane] = high_p;
    workgroupBarrier();

    let low_shrink = exp(low_peak - low_top);
    let high_shrink = exp(high_peak - high_top);
    low_peak = low_top;
    high_peak = high_top;
    low_total = low_total * low_shrink + low_p;
    high_total = high_total * high_shrink + high_p;
    low = mat4x4f(low_shrink.x * low[0], low_shrink.y * low[1],
                  low_shrink.z * low[2], low_shrink.w * low[3]);
    high = mat4x4f(high_shrink.x * high[0], high_shrink.y * high[1],
                   high_shrink.z * high[2], high_shrink.w * high[3]);
    for (var c = 0u; c < min(keys, end - start); c++) {
      let value = v[((start + c) * dims.Hkv + head) * keys + lane];
      let lp = tile[low_at + c];
      let hp = tile[high_at + c];
      low += mat4x4f(lp.x * value, lp.y * value, lp.z * value, lp.w * value);
      high += mat4x4f(hp.x * value, hp.y * value, hp.z * value, hp.w * value);
    }
    workgroupBarrier();
  }

  tile[low_at + lane] = low_total;
  tile[high_at + lane] = high_total;
  workgroupBarrier();
  low_total = vec4f();
  high_total = vec4f();
  for (var c = 0u; c < keys; c++) {
    low_total += tile[low_at + c];
    high_total += tile[high_at + c];
  }
  low_total = max(low_total, vec4f(NOTHING));
  high_total = max(high_total, vec4f(NOTHING));
  for (var i = 0u; i < 4u; i++) {
    store(low_query[i], group.y, lane, low[i] / low_total[i]);
    store(high_query[i], group.y, lane, high[i] / high_total[i]);
  }
}
