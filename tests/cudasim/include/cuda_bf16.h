// cuda_bf16.h - __nv_bfloat16 as a storage type for kernels run by cuda_cpu.h; see cuda_fp16.h.
#pragma once
#include "cuda_storage.h"

namespace cudacpu {

inline float bfloat16_to_float(unsigned short bits) {
  return __uint_as_float(unsigned(bits) << 16);
}

inline unsigned short float_to_bfloat16(float value) {
  const unsigned bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;   // CUDA's one NaN
  return bits >> 31 << 15 | round_off(bits & 0x7fffffffu, 16);
}

}  // namespace cudacpu

CUDACPU_STORAGE_TYPE(__nv_bfloat16, 'E', cudacpu::bfloat16_to_float, cudacpu::float_to_bfloat16)
CUDACPU_STORAGE_PAIR(__nv_bfloat162, __nv_bfloat16)
using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;

inline float __bfloat162float(__nv_bfloat16 value) { return float(value); }
inline __nv_bfloat16 __float2bfloat16(float value) { return __nv_bfloat16(value); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return __nv_bfloat16(value); }
inline __nv_bfloat16 __double2bfloat16(double value) { return __nv_bfloat16(value); }
inline __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) {
  return {low, high};
}
inline float __low2float(__nv_bfloat162 pair) { return float(pair.x); }
inline float __high2float(__nv_bfloat162 pair) { return float(pair.y); }
inline float2 __bfloat1622float2(__nv_bfloat162 pair) { return {float(pair.x), float(pair.y)}; }
inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
  return {__nv_bfloat16(low), __nv_bfloat16(high)};
}
inline __nv_bfloat162 __float22bfloat162_rn(float2 pair) {
  return {__nv_bfloat16(pair.x), __nv_bfloat16(pair.y)};
}
inline unsigned short __bfloat16_as_ushort(__nv_bfloat16 value) { return value.bits; }
inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
  return __nv_bfloat16::from_bits(bits);
}
