// cuda_fp16.h - __half as a storage type for kernels run by cuda_cpu.h: two bytes that convert to
// and from float as CUDA's do. Arithmetic on halves is deleted: CUDA rounds every step to half, and
// our kernels compute in float. The kernel source includes it itself, so leaving the include out
// fails here as it does under NVRTC.
#pragma once
#include "cuda_storage.h"

namespace cudacpu {

inline float half_to_float(unsigned short bits) {
  const unsigned sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
  if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | mantissa << 13);
  if (exponent) return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = float(mantissa) * 5.9604644775390625e-8f;   // subnormal: units of 2^-24
  return sign ? -magnitude : magnitude;
}

inline unsigned short float_to_half(float value) {
  const unsigned bits = __float_as_uint(value), x = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
  if (x > 0x7f800000u) return 0x7fff;                    // CUDA's one NaN
  if (x >= 0x477ff000u) return sign | 0x7c00;            // 65520 and more round to infinity
  if (x >= 0x38800000u) return sign | round_off(x - 0x38000000u, 13);
  if (x <= 0x33000000u) return sign;                     // up to 2^-25, a tie: rounds to zero
  return sign | round_off((x & 0x7fffffu) | 0x800000u, 126 - (x >> 23));
}

}  // namespace cudacpu

CUDACPU_STORAGE_TYPE(__half, 'e', cudacpu::half_to_float, cudacpu::float_to_half)
CUDACPU_STORAGE_PAIR(__half2, __half)
using half = __half;
using half2 = __half2;

inline float __half2float(__half value) { return float(value); }
inline __half __float2half(float value) { return __half(value); }
inline __half __float2half_rn(float value) { return __half(value); }
inline __half __double2half(double value) { return __half(value); }
inline __half2 __halves2half2(__half low, __half high) { return {low, high}; }
inline __half __low2half(__half2 pair) { return pair.x; }
inline __half __high2half(__half2 pair) { return pair.y; }
inline float __low2float(__half2 pair) { return float(pair.x); }
inline float __high2float(__half2 pair) { return float(pair.y); }
inline float2 __half22float2(__half2 pair) { return {float(pair.x), float(pair.y)}; }
inline __half2 __floats2half2_rn(float low, float high) { return {__half(low), __half(high)}; }
inline __half2 __float22half2_rn(float2 pair) { return {__half(pair.x), __half(pair.y)}; }
inline unsigned short __half_as_ushort(__half value) { return value.bits; }
inline __half __ushort_as_half(unsigned short bits) { return __half::from_bits(bits); }
