// elementwise.cu - y = F(x) and y = F(a, b) for the formulas of activations.cuh.
#include "activations.cuh"

template <class F, class T>
__global__ void unary(const T* __restrict__ x, T* __restrict__ y, Index n, Wide<T> p) {
  for (Index i = first(); i < n; i += stride()) store(y, i, F::of(load(x, i), p));
}

template <class F, class T>
__global__ void binary(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, Index n,
                       Wide<T> p) {
  for (Index i = first(); i < n; i += stride()) store(y, i, F::of(load(a, i), load(b, i), p));
}
