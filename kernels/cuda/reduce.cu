// reduce.cu - sums over rows and columns; softmax and its family, a row a team of threads. Loads
// are vectorised: V elements at a time.
#include "softmax.cuh"

// ------------------------------------------------------------------------------------------- sums
// From dtype X, accumulated in Wide<X>, to dtype Y. A long sum is split into partial sums of `per`
// elements, which a second launch reduces. The last launch divides, for a mean.

// y (rows, parts) from x (rows, n).
template <class X, class Y, int V>
__global__ void row_sums(const X* __restrict__ x, Y* __restrict__ y, Index rows, Index n, Index parts,
                         Index per, Wide<X> divisor) {
  for (Index r = first_row(); r < rows * parts; r += row_stride()) {
    const Index begin = r % parts * per, rest = n - begin, length = rest < per ? rest : per;
    const X* row = x + r / parts * n + begin;
    Wide<X> sum = 0;
    for (Index j = threadIdx.x * V; j < length; j += blockDim.x * V) {
      const auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) sum += Wide<X>(pack.at[e]);
    }
    sum = over_row<Sum>(sum);
    if (threadIdx.x == 0) y[r] = Y(sum / divisor);
  }
}

// y (before, parts, after) from x (before, n, after), by blocks of 32 packs of columns and 8 rows.
template <class X, class Y, int V>
__global__ void column_sums(const X* __restrict__ x, Y* __restrict__ y, Index before, Index n,
                            Index after, Index parts, Index per, Wide<X> divisor) {
  using A = Wide<X>;
  const Index j = (blockIdx.x * Index(32) + threadIdx.x) * V;
  for (Index part = blockIdx.y; part < before * parts; part += gridDim.y) {
    const Index begin = part % parts * per, end = begin + per < n ? begin + per : n;
    const X* rows = x + part / parts * n * after + j;
    A sums[V] = {};
    if (j < after)
      for (Index i = begin + threadIdx.y; i < end; i += 8) {
        const auto pack = load_pack<V>(rows + i * after);
        for (int e = 0; e < V; e++) sums[e] += A(pack.at[e]);
      }
    Pack<Y, V> made;
    for (int e = 0; e < V; e++) made.at[e] = Y(over_column<8>(sums[e]) / divisor);
    if (threadIdx.y == 0 && j < after) store_pack(y + part * after + j, made);
  }
}

// ---------------------------------------------------------------------------------------- softmax

template <class T, int V>
__global__ void softmax(const T* __restrict__ x, T* __restrict__ y, Index rows, Index n) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    const auto of = exponentials<V>(row, n);
    const A scale = A(1) / of.sum;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) pack.at[e] = T(m::exp(A(pack.at[e]) - of.shift) * scale);
      store_pack(y + r * n + j, pack);
    }
  }
}

template <class T, int V>
__global__ void log_softmax(const T* __restrict__ x, T* __restrict__ y, Index rows, Index n) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    const auto of = exponentials<V>(row, n);
    const A log = m::log(of.sum);
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) pack.at[e] = T((A(pack.at[e]) - of.shift) - log);
      store_pack(y + r * n + j, pack);
    }
  }
}

template <class T, int V>
__global__ void softmax_grad(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ out,
                             Index rows, Index n) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    A sum = 0;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto gs = load_pack<V>(g + r * n + j), ys = load_pack<V>(y + r * n + j);
      for (int e = 0; e < V; e++) sum += A(gs.at[e]) * A(ys.at[e]);
    }
    sum = over_row<Sum>(sum);
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(g + r * n + j);
      const auto ys = load_pack<V>(y + r * n + j);
      for (int e = 0; e < V; e++) pack.at[e] = T(A(ys.at[e]) * (A(pack.at[e]) - sum));
      store_pack(out + r * n + j, pack);
    }
  }
}

template <class T, int V>
__global__ void log_softmax_grad(const T* __restrict__ g, const T* __restrict__ y,
                                 T* __restrict__ out, Index rows, Index n) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    A sum = 0;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto gs = load_pack<V>(g + r * n + j);
      for (int e = 0; e < V; e++) sum += A(gs.at[e]);
    }
    sum = over_row<Sum>(sum);
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(g + r * n + j);
      const auto ys = load_pack<V>(y + r * n + j);
      for (int e = 0; e < V; e++) pack.at[e] = T(A(pack.at[e]) - m::exp(A(ys.at[e])) * sum);
      store_pack(out + r * n + j, pack);
    }
  }
}
