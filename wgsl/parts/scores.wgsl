// part scores    s[i,j] = cap(scale * q[i] · k[j]) + bias, and which keys j a query i sees
//
//   cap(s) = SOFTCAP * tanh(s / SOFTCAP), or s where SOFTCAP is 0
//   bias   [Hq, distances] f32, of key j and query i at distances - Tk + j - (q0 + i), if BIAS;
//          else not read
//   seen   keys j < valid, j <= q0 + i if CAUSAL, j > q0 + i - WINDOW if WINDOW
//
// For four queries at a time, and one key.

override CAUSAL: bool = false;
override WINDOW: u32 = 0u;
override SOFTCAP: f32 = 0.0;
override BIAS: bool = false;

const LOWEST = -1e30;  // finite: infinities may not survive a shader compiler
const NOTHING = 1e-30;  // the least total of exponentials: the highest score's alone is 1

@group(0) @binding(4) var<storage, read> bias: array<f32>;

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
