// scalars.cuh - scalar functions, named as the elementwise ops that map them. `p` is the parameter
// of those that have one (slope, alpha). A gradient's second argument is the output y or the input
// x, as in the op's signature.
#include "common.cuh"

#define UNARY(NAME, FORMULA) \
  struct NAME { \
    template <class A> static __device__ __forceinline__ A of(A x, A p) { return FORMULA; } \
  };
#define BINARY(NAME, SECOND, FORMULA) \
  struct NAME { \
    template <class A> static __device__ __forceinline__ A of(A g, A SECOND, A p) { \
      return FORMULA; \
    } \
  };

namespace f {
template <class A> __device__ __forceinline__ A logistic(A x) {
  const A e = m::exp(-m::abs(x));             // never overflows
  return (x < A(0) ? e : A(1)) / (A(1) + e);
}
template <class A> __device__ __forceinline__ A gelu_tanh(A x) {
  return m::tanh(A(0.7978845608028654) * (x + A(0.044715) * x * x * x));
}
template <class A> __device__ __forceinline__ A gelu_slope(A x) {
  x = x < A(-10) ? A(-10) : x > A(10) ? A(10) : x;  // beyond, t is 1, and x * x may overflow
  const A t = gelu_tanh(x);
  const A inner = A(0.7978845608028654) * (A(1) + A(0.134145) * x * x);
  return A(0.5) * (A(1) + t) + A(0.5) * x * (A(1) - t * t) * inner;
}
template <class A> __device__ __forceinline__ A silu_slope(A x, A s) {
  return s * (A(1) + x * (A(1) - s));
}

UNARY(none, x)
UNARY(negative, -x)
UNARY(square, x * x)
UNARY(sqrt, m::sqrt(x))
UNARY(tanh, m::tanh(x))
UNARY(sigmoid, logistic(x))
UNARY(relu, x < A(0) ? A(0) : x)              // this way round, NaN stays NaN
UNARY(leaky_relu, x > A(0) ? x : p * x)
UNARY(elu, x > A(0) ? x : p * m::expm1(x))
UNARY(gelu, A(0.5) * x * (A(1) + gelu_tanh(x)))
UNARY(silu, x * logistic(x))
UNARY(softplus, m::max(x, A(0)) + m::log1p(m::exp(-m::abs(x))))

BINARY(add, b, g + b)
BINARY(subtract, b, g - b)
BINARY(subtract_from, b, b - g)
BINARY(multiply, b, g * b)
BINARY(divide, b, g / b)
BINARY(divide_into, b, b / g)

BINARY(none_grad, y, g)
BINARY(square_grad, x, g * (x + x))
BINARY(tanh_grad, y, g * (A(1) - y * y))
BINARY(sigmoid_grad, y, g * y * (A(1) - y))
BINARY(relu_grad, y, y <= A(0) ? A(0) : g)
BINARY(leaky_relu_grad, x, x > A(0) ? g : p * g)
BINARY(elu_grad, x, x <= A(0) ? g * p * m::exp(x) : g)
BINARY(gelu_grad, x, g * gelu_slope(x))
BINARY(silu_grad, x, g * silu_slope(x, logistic(x)))
}  // namespace f
