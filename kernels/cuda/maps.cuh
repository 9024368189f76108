// maps.cuh - a scalar function mapped over one array or two, V elements at a time (vectorised
// loads); n is a multiple of V.
#include "vectors.cuh"

template <class F, class T, int V>
__global__ void unary(const T* __restrict__ x, T* __restrict__ y, Index n, Wide<T> p) {
  for (Index i = first() * V; i < n; i += stride() * V) {
    auto pack = load_pack<V>(x + i);
    for (int e = 0; e < V; e++) pack.at[e] = T(F::of(Wide<T>(pack.at[e]), p));
    store_pack(y + i, pack);
  }
}

template <class F, class T, int V>
__global__ void binary(const T* __restrict__ a, const T* __restrict__ b, T* __restrict__ y, Index n,
                       Wide<T> p) {
  for (Index i = first() * V; i < n; i += stride() * V) {
    auto pack = load_pack<V>(a + i);
    const auto bs = load_pack<V>(b + i);
    for (int e = 0; e < V; e++)
      pack.at[e] = T(F::of(Wide<T>(pack.at[e]), Wide<T>(bs.at[e]), p));
    store_pack(y + i, pack);
  }
}
