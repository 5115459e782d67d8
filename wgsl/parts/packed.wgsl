// part packed    W[n,k] = scale[n, k/GROUP] * code[n,k] + rest[n, k/GROUP]
//
//   rest   biases[n, k/GROUP] if BIASED, otherwise -ZERO * scale
//   codes  [N_all, K_all] of BITS 1, 2, 4, 8, row after row; code i of a u32 in bits BITS*i..
//   scales [N_all, K_all/GROUP] of FORMAT: 0 f32, 1 bf16, 2 f16 (two per u32, low half first)
//   biases like scales if BIASED, otherwise not read
//   needs  GROUP % 16 == 0; K, K_all and k0 multiples of GROUP and of WORD
//
// A run is what a word and a group have in common: a whole word, or half a word of 1-bit codes. A
// span is a group, or a part of a wide one: codes and inputs are summed over it before the codes'
// zero is made good, for the two cancel, and the more sums there are, the less is left of them.

override BITS: u32 = 2u;
override ZERO: f32 = 1.0;
override BIASED: bool = false;
override GROUP: u32 = 128u;
override FORMAT: u32 = 1u;
override WORD: u32 = 32u / BITS;                            // codes
override RUN: u32 = min(WORD, GROUP & ~(GROUP - 1u));       // codes
override SPAN: u32 = max(GROUP * u32(GROUP <= 256u), min(128u, GROUP & ~(GROUP - 1u)));

@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> biases: array<u32>;

fn floats(word: u32, i: u32) -> f32 {  // the float of FORMAT that element i has in its word
  if (FORMAT == 0u) { return bitcast<f32>(word); }
  if (FORMAT == 2u) { return unpack2x16float(word)[i & 1u]; }
  return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (i & 1u) == 1u));
}

fn group_at(i: u32) -> vec2f {  // scale and rest
  let word = select(i / 2u, i, FORMAT == 0u);
  let scale = floats(scales[word], i);
  if (!BIASED) { return vec2f(scale, -ZERO * scale); }
  return vec2f(scale, floats(biases[word], i));
}

fn groups_at(i: vec4u) -> mat2x4f {  // four scales, and their rests
  return transpose(mat4x2f(group_at(i.x), group_at(i.y), group_at(i.z), group_at(i.w)));
}

fn run_at(words: vec4u, run: u32) -> vec4i {  // of four rows that begin with `words`
  let at = words + run / (WORD / RUN);
  let shift = vec4u(run % (WORD / RUN) * (RUN * BITS));
  return vec4i(i32(codes[at.x]), i32(codes[at.y]), i32(codes[at.z]), i32(codes[at.w])) >> shift;
}

fn unpack(words: vec4i, i: u32) -> vec4f {  // 2^(BITS i) * code i of four words, i < 4
  if (BITS == 8u) { return vec4f((words >> vec4u(8u * i)) & vec4i(255)); }  // code i itself
  return vec4f(words & vec4i(((1i << BITS) - 1i) << (BITS * i)));  // signed: that converts faster
}

fn power(exponents: vec4u) -> vec4f {  // 2^(exponents - 127), exactly
  return bitcast<vec4f>(exponents << vec4u(23u));
}
