// cuda_builtins.h - what CUDA C gives without any include: qualifiers, vector types, intrinsics.
//
// What NVRTC does not have must not compile here either: the kernels see no INFINITY, no std::, no
// uint32_t; min and max have CUDA's overloads; atomics take the types that CUDA's take.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))

// ------------------------------------------------------------------------------------ vector types

namespace cudacpu {
constexpr int vector_align(int bytes) { return bytes > 16 ? 16 : bytes; }
}  // namespace cudacpu

#define CUDACPU_VECTOR3(T, N) \
  struct N##3 { T x, y, z; }; \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }
#define CUDACPU_VECTORS(T, N) \
  struct N##1 { T x; }; \
  struct alignas(cudacpu::vector_align(2 * sizeof(T))) N##2 { T x, y; }; \
  struct alignas(cudacpu::vector_align(4 * sizeof(T))) N##4 { T x, y, z, w; }; \
  inline N##1 make_##N##1(T x) { return {x}; } \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; } \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }

CUDACPU_VECTORS(signed char, char) CUDACPU_VECTOR3(signed char, char)
CUDACPU_VECTORS(unsigned char, uchar) CUDACPU_VECTOR3(unsigned char, uchar)
CUDACPU_VECTORS(short, short) CUDACPU_VECTOR3(short, short)
CUDACPU_VECTORS(unsigned short, ushort) CUDACPU_VECTOR3(unsigned short, ushort)
CUDACPU_VECTORS(int, int) CUDACPU_VECTOR3(int, int)
CUDACPU_VECTORS(unsigned, uint)
CUDACPU_VECTORS(long long, longlong) CUDACPU_VECTOR3(long long, longlong)
CUDACPU_VECTORS(unsigned long long, ulonglong) CUDACPU_VECTOR3(unsigned long long, ulonglong)
CUDACPU_VECTORS(float, float) CUDACPU_VECTOR3(float, float)
CUDACPU_VECTORS(double, double) CUDACPU_VECTOR3(double, double)
#undef CUDACPU_VECTORS
#undef CUDACPU_VECTOR3
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// ------------------------------------------------------------------ barriers, warps, control flow

#define CUDACPU_SITE cudacpu::Site{__LINE__, __COUNTER__}
#define __syncthreads() ((void)cudacpu::block_barrier(CUDACPU_SITE))
#define __syncthreads_count(vote) int(cudacpu::block_barrier(CUDACPU_SITE, (vote) != 0))
#define __syncthreads_or(vote) int(cudacpu::block_barrier(CUDACPU_SITE, (vote) != 0) != 0)
#define __syncthreads_and(vote) int(cudacpu::block_barrier(CUDACPU_SITE, (vote) == 0) == 0)
#define __syncwarp(...) cudacpu::syncwarp(CUDACPU_SITE __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_sync(...) cudacpu::shfl(CUDACPU_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) cudacpu::shfl_xor(CUDACPU_SITE, __VA_ARGS__)
#define __shfl_down_sync(...) cudacpu::shfl_down(CUDACPU_SITE, __VA_ARGS__)
#define __shfl_up_sync(...) cudacpu::shfl_up(CUDACPU_SITE, __VA_ARGS__)
#define __ballot_sync(mask, vote) cudacpu::ballot(CUDACPU_SITE, mask, (vote) != 0)
#define __any_sync(mask, vote) int(cudacpu::ballot(CUDACPU_SITE, mask, (vote) != 0) != 0)
#define __all_sync(mask, vote) int(cudacpu::ballot(CUDACPU_SITE, mask, (vote) == 0) == 0)
#define __trap() cudacpu::fail("__trap()", __LINE__)
#undef assert
#define assert(condition) \
  ((condition) ? (void)0 : cudacpu::fail("assertion failed: " #condition, __LINE__))

namespace cudacpu {
inline void syncwarp(Site site, unsigned mask = 0xffffffffu) { warp_barrier(site, mask); }
}  // namespace cudacpu

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}

// ----------------------------------------------------------------------------------------- atomics

// One OS thread runs all blocks, so a plain read-modify-write is atomic. The types are CUDA's: for
// example there is no atomicAdd on signed 64-bit integers.
namespace cudacpu {
template <class T, class... Allowed>
using if_one_of = std::enable_if_t<(std::is_same_v<T, Allowed> || ...), T>;
template <class T> struct identity { using type = T; };
template <class T> using same = typename identity<T>::type;   // a parameter that does not deduce T
using ull = unsigned long long;
}  // namespace cudacpu

#define CUDACPU_ATOMIC(NAME, EXPRESSION, ...) \
  template <class T> \
  inline cudacpu::if_one_of<T, __VA_ARGS__> NAME(T* address, cudacpu::same<T> value) { \
    const T old = *address; \
    *address = (EXPRESSION); \
    return old; \
  }
CUDACPU_ATOMIC(atomicAdd, old + value, int, unsigned, cudacpu::ull, float, double)
CUDACPU_ATOMIC(atomicSub, old - value, int, unsigned)
CUDACPU_ATOMIC(atomicExch, value, int, unsigned, cudacpu::ull, float)
CUDACPU_ATOMIC(atomicMax, value > old ? value : old, int, unsigned, long long, cudacpu::ull)
CUDACPU_ATOMIC(atomicMin, value < old ? value : old, int, unsigned, long long, cudacpu::ull)
CUDACPU_ATOMIC(atomicAnd, old & value, int, unsigned, cudacpu::ull)
CUDACPU_ATOMIC(atomicOr, old | value, int, unsigned, cudacpu::ull)
CUDACPU_ATOMIC(atomicXor, old ^ value, int, unsigned, cudacpu::ull)
CUDACPU_ATOMIC(atomicInc, old >= value ? 0 : old + 1, unsigned)
CUDACPU_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1, unsigned)
#undef CUDACPU_ATOMIC

template <class T>
inline cudacpu::if_one_of<T, int, unsigned, unsigned short, cudacpu::ull> atomicCAS(
    T* address, cudacpu::same<T> compare, cudacpu::same<T> value) {
  const T old = *address;
  if (old == compare) *address = value;
  return old;
}

// ------------------------------------------------------------------------------- loads and stores

template <class T> inline T __ldg(const T* address) { return *address; }
template <class T> inline T __ldcs(const T* address) { return *address; }
template <class T> inline T __ldca(const T* address) { return *address; }
template <class T> inline T __ldcg(const T* address) { return *address; }
template <class T> inline void __stcs(T* address, T value) { *address = value; }
template <class T> inline void __stcg(T* address, T value) { *address = value; }

// ------------------------------------------------------------------------------------- arithmetic

#define CUDACPU_MIN_MAX(R, A, B) \
  inline R min(A a, B b) { return (R)a < (R)b ? (R)a : (R)b; } \
  inline R max(A a, B b) { return (R)a > (R)b ? (R)a : (R)b; }
CUDACPU_MIN_MAX(int, int, int)
CUDACPU_MIN_MAX(unsigned, unsigned, unsigned)
CUDACPU_MIN_MAX(unsigned, int, unsigned)
CUDACPU_MIN_MAX(unsigned, unsigned, int)
CUDACPU_MIN_MAX(long, long, long)
CUDACPU_MIN_MAX(unsigned long, unsigned long, unsigned long)
CUDACPU_MIN_MAX(unsigned long, long, unsigned long)
CUDACPU_MIN_MAX(unsigned long, unsigned long, long)
CUDACPU_MIN_MAX(long long, long long, long long)
CUDACPU_MIN_MAX(cudacpu::ull, cudacpu::ull, cudacpu::ull)
CUDACPU_MIN_MAX(cudacpu::ull, long long, cudacpu::ull)
CUDACPU_MIN_MAX(cudacpu::ull, cudacpu::ull, long long)
#undef CUDACPU_MIN_MAX
#define CUDACPU_MIN_MAX(R, A, B, SUFFIX)      /* CUDA's return the other operand of a NaN */ \
  inline R min(A a, B b) { return ::fmin##SUFFIX(a, b); } \
  inline R max(A a, B b) { return ::fmax##SUFFIX(a, b); }
CUDACPU_MIN_MAX(float, float, float, f)
CUDACPU_MIN_MAX(double, double, double, )
CUDACPU_MIN_MAX(double, float, double, )
CUDACPU_MIN_MAX(double, double, float, )
#undef CUDACPU_MIN_MAX

using std::abs;
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

// The fast versions are exact here: a test cannot show the error of the GPU's approximations.
inline float __expf(float x) { return ::expf(x); }
inline float __exp10f(float x) { return ::exp10f(x); }
inline float __logf(float x) { return ::logf(x); }
inline float __log2f(float x) { return ::log2f(x); }
inline float __log10f(float x) { return ::log10f(x); }
inline float __powf(float x, float y) { return ::powf(x, y); }
inline float __sinf(float x) { return ::sinf(x); }
inline float __cosf(float x) { return ::cosf(x); }
inline float __tanf(float x) { return ::tanf(x); }
inline void __sincosf(float x, float* s, float* c) { *s = ::sinf(x), *c = ::cosf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }   // NaN becomes 0
inline float rsqrtf(float x) { return float(1 / ::sqrt(double(x))); }
inline double rsqrt(double x) { return 1 / ::sqrt(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float rcbrtf(float x) { return float(1 / ::cbrt(double(x))); }
inline double rcbrt(double x) { return 1 / ::cbrt(x); }

namespace cudacpu {
template <class T> inline T opaque(T value) {   // keeps the compiler from fusing it into an FMA
  asm("" : "+x"(value));
  return value;
}
constexpr double PI = 3.14159265358979323846;
}  // namespace cudacpu

inline double sinpi(double x) { return ::sin(cudacpu::PI * ::fmod(x, 2.0)); }
inline double cospi(double x) { return ::cos(cudacpu::PI * ::fmod(x, 2.0)); }
inline float sinpif(float x) { return float(sinpi(x)); }
inline float cospif(float x) { return float(cospi(x)); }
inline void sincospi(double x, double* s, double* c) { *s = sinpi(x), *c = cospi(x); }
inline void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }
inline double normcdf(double x) { return 0.5 * ::erfc(-x * 0.70710678118654752440); }
inline float normcdff(float x) { return float(normcdf(x)); }

inline float __fadd_rn(float a, float b) { return cudacpu::opaque(a + b); }
inline float __fsub_rn(float a, float b) { return cudacpu::opaque(a - b); }
inline float __fmul_rn(float a, float b) { return cudacpu::opaque(a * b); }
inline float __fdiv_rn(float a, float b) { return cudacpu::opaque(a / b); }
inline float __fdividef(float a, float b) { return cudacpu::opaque(a / b); }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fsqrt_rn(float a) { return ::sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return cudacpu::opaque(a + b); }
inline double __dmul_rn(double a, double b) { return cudacpu::opaque(a * b); }
inline double __fma_rn(double a, double b, double c) { return ::fma(a, b, c); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline int __float2int_rn(float x) { return int(::rintf(x)); }
inline int __float2int_rd(float x) { return int(::floorf(x)); }
inline int __float2int_ru(float x) { return int(::ceilf(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline float __double2float_rn(double x) { return float(x); }

// ------------------------------------------------------------------------------------------- bits

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(cudacpu::ull x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned result = 0;
  for (int i = 0; i < 32; i++) result |= (x >> i & 1) << (31 - i);
  return result;
}
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((cudacpu::ull)a * b >> 32); }
inline cudacpu::ull __umul64hi(cudacpu::ull a, cudacpu::ull b) {
  return cudacpu::ull((unsigned __int128)a * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return unsigned((((cudacpu::ull)high << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return unsigned(((cudacpu::ull)high << 32 | low) >> (shift & 31));
}

#define CUDACPU_BITS(NAME, FROM, TO) \
  inline TO NAME(FROM value) { \
    static_assert(sizeof(FROM) == sizeof(TO), ""); \
    TO result; \
    memcpy(&result, &value, sizeof result); \
    return result; \
  }
CUDACPU_BITS(__float_as_int, float, int)
CUDACPU_BITS(__int_as_float, int, float)
CUDACPU_BITS(__float_as_uint, float, unsigned)
CUDACPU_BITS(__uint_as_float, unsigned, float)
CUDACPU_BITS(__double_as_longlong, double, long long)
CUDACPU_BITS(__longlong_as_double, long long, double)
#undef CUDACPU_BITS

// ----------------------------------------------------------- what the host has and NVRTC does not

#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef HUGE_VALF
#undef INT32_MAX
#undef INT64_MAX
#undef UINT32_MAX
#undef UINT64_MAX
#undef SIZE_MAX
#undef M_E
#undef M_LOG2E
#undef M_LOG10E
#undef M_LN2
#undef M_LN10
#undef M_PI
#undef M_PI_2
#undef M_PI_4
#undef M_1_PI
#undef M_2_PI
#undef M_2_SQRTPI
#undef M_SQRT2
#undef M_SQRT1_2

// Renamed rather than poisoned, so that a kernel source may define such a name itself.
#define std std_is_not_in_nvrtc
#define int8_t int8_t_is_not_in_nvrtc
#define int16_t int16_t_is_not_in_nvrtc
#define int32_t int32_t_is_not_in_nvrtc
#define int64_t int64_t_is_not_in_nvrtc
#define uint8_t uint8_t_is_not_in_nvrtc
#define uint16_t uint16_t_is_not_in_nvrtc
#define uint32_t uint32_t_is_not_in_nvrtc
#define uint64_t uint64_t_is_not_in_nvrtc
#define uintptr_t uintptr_t_is_not_in_nvrtc
#define uint uint_is_not_in_nvrtc
#define ushort ushort_is_not_in_nvrtc
#define ulong ulong_is_not_in_nvrtc
