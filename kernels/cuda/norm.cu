// norm.cu - normalisation. Statistics are Wide<T>, also for halves. Layer, RMS and group norm take
// a row a team of threads, V elements at a time; channel_norm.cuh holds batch norm, and the rest of
// group norm. Rows are read several times, from cache after the first. In the place of a weight or
// bias that is left out stands another array: it may be read, but is not used.
#include "channel_norm.cuh"

template <class A> struct Statistics {
  A mean, rstd;
};

// Of a row, the same in all threads of its team. Without CENTRED the mean is 0. What is summed are
// the differences to the row's first number, so that large means leave their digits to the variance.
template <int V, bool CENTRED, class T, class A>
__device__ Statistics<A> row_statistics(const T* row, Index n, A eps) {
  A sum = 0, mu = 0, rest = 0;
  if constexpr (CENTRED) {
    const A first = load(row, 0);
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) sum += A(pack.at[e]) - first;
    }
    sum = over_row<Sum>(sum) / A(n);
    mu = first + sum;
    rest = (first - mu) + sum;                // what the mean was rounded by
    sum = 0;
  }
  for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
    const auto pack = load_pack<V>(row + j);
    for (int e = 0; e < V; e++) sum += (A(pack.at[e]) - mu) * (A(pack.at[e]) - mu);
  }
  return {mu, A(1) / m::sqrt(over_row<Sum>(sum) / A(n) - rest * rest + eps)};
}

template <class T, int V, bool CENTRED>
__global__ void row_norm(const T* __restrict__ x, const T* __restrict__ weight,
                         const T* __restrict__ bias, T* __restrict__ y, Wide<T>* __restrict__ mean,
                         Wide<T>* __restrict__ rstd, Index rows, Index n, Wide<T> eps,
                         int has_weight, int has_bias) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    const auto of = row_statistics<V, CENTRED>(row, n, eps);
    if (threadIdx.x == 0) {
      if constexpr (CENTRED) mean[r] = of.mean;
      rstd[r] = of.rstd;
    }
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(row + j);
      const auto ws = load_pack<V>(weight + j), bs = load_pack<V>(bias + j);
      for (int e = 0; e < V; e++) {
        A value = (A(pack.at[e]) - of.mean) * of.rstd;
        if (has_weight) value *= A(ws.at[e]);
        if (has_bias) value += A(bs.at[e]);
        pack.at[e] = T(value);
      }
      store_pack(y + r * n + j, pack);
    }
  }
}

// A row is a group of `together` channels of hw numbers.
template <class T, int V>
__global__ void group_norm(const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, T* __restrict__ y,
                           Wide<T>* __restrict__ mean, Wide<T>* __restrict__ rstd, Index rows,
                           Index groups, Index together, Index hw, Wide<T> eps, int has_weight,
                           int has_bias) {
  using A = Wide<T>;
  const Index n = together * hw;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    const auto of = row_statistics<V, true>(row, n, eps);
    if (threadIdx.x == 0) {
      mean[r] = of.mean;
      rstd[r] = of.rstd;
    }
    Position place(threadIdx.x * V, blockDim.x * V, together, hw);
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V, place.next()) {
      const Index c = r % groups * together + place.channel;
      const A w = has_weight ? load(weight, c) : A(1), b = has_bias ? load(bias, c) : A(0);
      auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) pack.at[e] = T((A(pack.at[e]) - of.mean) * of.rstd * w + b);
      store_pack(y + r * n + j, pack);
    }
  }
}

// Without CENTRED there is no mean, neither to read nor in the formula.
template <class T, int V, bool CENTRED>
__global__ void row_norm_grad(const T* __restrict__ g, const T* __restrict__ x,
                              const T* __restrict__ weight, const Wide<T>* __restrict__ mean,
                              const Wide<T>* __restrict__ rstd, T* __restrict__ gx, Index rows,
                              Index n, int has_weight) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const A mu = CENTRED ? mean[r] : A(0), scale = rstd[r];
    A sum = 0, along = 0;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto gs = load_pack<V>(g + r * n + j), xs = load_pack<V>(x + r * n + j);
      const auto ws = load_pack<V>(weight + j);
      for (int e = 0; e < V; e++) {
        const A gn = A(gs.at[e]) * (has_weight ? A(ws.at[e]) : A(1));
        sum += gn;
        along += gn * ((A(xs.at[e]) - mu) * scale);
      }
    }
    sum = CENTRED ? over_row<Sum>(sum) / A(n) : A(0);
    along = over_row<Sum>(along) / A(n);
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(g + r * n + j);
      const auto xs = load_pack<V>(x + r * n + j), ws = load_pack<V>(weight + j);
      for (int e = 0; e < V; e++) {
        const A gn = A(pack.at[e]) * (has_weight ? A(ws.at[e]) : A(1));
        const A normal = (A(xs.at[e]) - mu) * scale;
        pack.at[e] = T(scale * (gn - sum - normal * along));
      }
      store_pack(gx + r * n + j, pack);
    }
  }
}

// The sums of g * normal(x) and of g over `per` rows at a time.
template <class T, bool CENTRED>
__global__ void parameter_grads(const T* __restrict__ g, const T* __restrict__ x,
                                const Wide<T>* __restrict__ mean, const Wide<T>* __restrict__ rstd,
                                Wide<T>* __restrict__ gweight, Wide<T>* __restrict__ gbias,
                                Index rows, Index n, Index per) {
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  const Index begin = blockIdx.y * per, end = at_most(rows, begin + per);
  Wide<T> weight = 0, bias = 0;
  if (j < n)
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      const Wide<T> grad = load(g, i * n + j), mu = CENTRED ? mean[i] : Wide<T>(0);
      weight += grad * ((load(x, i * n + j) - mu) * rstd[i]);
      bias += grad;
    }
  store_part(weight, gweight, n);
  if constexpr (CENTRED) store_part(bias, gbias, n);
}
