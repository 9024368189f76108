// matmul.cu - the epilogue of a dense layer's product (bias, activation), and its backward.
// V numbers are moved at a time; rows of n are a multiple of that.
#include "scalars.cuh"
#include "column_sums.cuh"
#include "vectors.cuh"

// f(place, [z + b of V numbers]) for all numbers of z (rows, n); without a bias b is not read. A
// thread's column advances by the stride modulo n.
template <int V, class T, class Function>
__device__ __forceinline__ void for_each_sum(const T* b, const T* z, Index rows, Index n,
                                             int has_bias, Function f) {
  const Index step = stride() * V % n;
  Index column = first() * V % n;
  for (Index i = first() * V; i < rows * n; i += stride() * V) {
    const auto pack = load_pack<V>(z + i);
    Wide<T> sums[V];
    for (int e = 0; e < V; e++) sums[e] = Wide<T>(pack.at[e]);
    if (has_bias) {
      const auto bias = load_pack<V>(b + column);
      for (int e = 0; e < V; e++) sums[e] += Wide<T>(bias.at[e]);
    }
    f(i, sums);
    column += step;
    if (column >= n) column -= n;
  }
}

// In place, z = F(z + b).
template <class F, class T, int V>
__global__ void activate(const T* __restrict__ b, T* z, Index rows, Index n, int has_bias) {
  using A = Wide<T>;
  for_each_sum<V>(b, z, rows, n, has_bias, [=](Index i, const A (&sums)[V]) {
    Pack<T, V> made;
    for (int e = 0; e < V; e++) made.at[e] = T(F::of(sums[e], A(0)));
    store_pack(z + i, made);
  });
}

// z = z + b and y = F(z + b).
template <class F, class T, int V>
__global__ void activate_beside(const T* __restrict__ b, T* z, T* __restrict__ y, Index rows,
                                Index n, int has_bias) {
  using A = Wide<T>;
  for_each_sum<V>(b, z, rows, n, has_bias, [=](Index i, const A (&sums)[V]) {
    Pack<T, V> sum, made;
    for (int e = 0; e < V; e++) {
      sum.at[e] = T(sums[e]);
      made.at[e] = T(F::of(sums[e], A(0)));
    }
    store_pack(z + i, sum);
    store_pack(y + i, made);
  });
}

template <class F> struct Writes { static constexpr bool gz = true; };
template <> struct Writes<f::none_grad> { static constexpr bool gz = false; };

// gz = F(g, y), and its partial sums over `per` rows, by blocks of 32 packs of columns and 8 rows.
template <class F, class T, int V>
__global__ void graded(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ gz,
                       Wide<T>* __restrict__ parts, Index rows, Index n, Index per) {
  using A = Wide<T>;
  const Index j = (blockIdx.x * Index(32) + threadIdx.x) * V;
  const Index begin = blockIdx.y * per, end = begin + per < rows ? begin + per : rows;
  A sums[V] = {};
  if (j < n)
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      auto pack = load_pack<V>(g + i * n + j);
      if constexpr (Writes<F>::gz) {
        const auto ys = load_pack<V>(y + i * n + j);
        for (int e = 0; e < V; e++) {
          const A value = F::of(A(pack.at[e]), A(ys.at[e]), A(0));
          pack.at[e] = T(value);
          sums[e] += value;
        }
        store_pack(gz + i * n + j, pack);
      } else {
        for (int e = 0; e < V; e++) sums[e] += A(pack.at[e]);
      }
    }
  for (int e = 0; e < V; e++) {
    const A sum = over_column<8>(sums[e]);
    if (threadIdx.y == 0 && j < n) parts[blockIdx.y * n + j + e] = sum;
  }
}
