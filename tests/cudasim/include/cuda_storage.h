// cuda_storage.h - the parts that __half and __nv_bfloat16 share.
#pragma once

namespace cudacpu {

// Drops the lowest bits, rounding to the nearest value and ties to even.
inline unsigned round_off(unsigned x, int bits) {
  const unsigned half = 1u << (bits - 1), rest = x & (2 * half - 1), result = x >> bits;
  return result + (rest > half || (rest == half && (result & 1)));
}

// The nearest float with its last bit set if inexact: rounding that once more gives the nearest of
// the narrower type, where rounding twice to nearest would not.
inline float round_to_odd(double value) {
  const float nearest = float(value);
  if (double(nearest) == value || nearest != nearest) return nearest;
  const bool away = fabs(double(nearest)) > fabs(value);
  const unsigned bits = __float_as_uint(nearest) - away;   // towards zero
  return __uint_as_float(bits | 1);
}

}  // namespace cudacpu

// Conversion to float is implicit, as in CUDA. Conversion from float is not: `y[i] = value` would
// hide where a kernel rounds, so our kernels say y[i] = T(value).
#define CUDACPU_STORAGE_TYPE(NAME, KIND, TO_FLOAT, FROM_FLOAT) \
  struct alignas(2) NAME { \
    static constexpr char numpy_kind = KIND; \
    unsigned short bits; \
    NAME() = default; \
    explicit NAME(float value) : bits(FROM_FLOAT(value)) {} \
    explicit NAME(double value) : bits(FROM_FLOAT(cudacpu::round_to_odd(value))) {} \
    explicit NAME(int value) : NAME(double(value)) {} \
    explicit NAME(unsigned value) : NAME(double(value)) {} \
    explicit NAME(long long value) : NAME(double(value)) {} \
    static NAME from_bits(unsigned short bits) { \
      NAME result; \
      result.bits = bits; \
      return result; \
    } \
    operator float() const { return TO_FLOAT(bits); } \
  }; \
  inline NAME atomicAdd(NAME* address, NAME value) { \
    const NAME old = *address; \
    *address = NAME(float(old) + float(value)); \
    return old; \
  } \
  NAME operator+(NAME, NAME) = delete; \
  NAME operator-(NAME, NAME) = delete; \
  NAME operator*(NAME, NAME) = delete; \
  NAME operator/(NAME, NAME) = delete; \
  NAME operator-(NAME) = delete;

#define CUDACPU_STORAGE_PAIR(NAME, HALF) \
  struct alignas(4) NAME { \
    HALF x, y; \
  };
