// special.cu - special functions that CUDA has, mapped over one array or two.
#include "maps.cuh"
#include "scalars.cuh"

namespace m {
__device__ __forceinline__ float erf(float x) { return ::erff(x); }
__device__ __forceinline__ double erf(double x) { return ::erf(x); }
__device__ __forceinline__ float erfc(float x) { return ::erfcf(x); }
__device__ __forceinline__ double erfc(double x) { return ::erfc(x); }
__device__ __forceinline__ float lgamma(float x) { return ::lgammaf(x); }
__device__ __forceinline__ double lgamma(double x) { return ::lgamma(x); }
}  // namespace m

namespace f {
template <class A> __device__ __forceinline__ A normal(A x) {
  return A(0.5) * m::erfc(x * A(-0.7071067811865476));
}
template <class A> __device__ __forceinline__ A bell(A x) {
  return A(0.3989422804014327) * m::exp(A(-0.5) * x * x);
}

UNARY(erf, m::erf(x))
UNARY(erfc, m::erfc(x))
UNARY(ndtr, normal(x))
UNARY(lgamma, m::lgamma(x))
UNARY(gelu_erf, m::max(x, A(-50)) * normal(x))  // -inf times 0 is NaN

BINARY(gelu_erf_grad, x, g * (normal(x) + x * bell(x)))
}  // namespace f
