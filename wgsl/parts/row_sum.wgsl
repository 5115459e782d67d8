// part row_sum    sum of a value of each thread of a workgroup, the same in all of them

const WG = 64u;

var<workgroup> partial: array<f32, WG>;

fn sum(value: f32, lane: u32) -> f32 {
  workgroupBarrier();  // the last sum has been read by all
  partial[lane] = value;
  workgroupBarrier();
  for (var stride = WG / 2u; stride > 0u; stride /= 2u) {
    if (lane < stride) { partial[lane] += partial[lane + stride]; }
    workgroupBarrier();
  }
  return partial[0];
}
