// norm.cu - layer normalisation over the last axis. Statistics are Wide<T>, also for halves.
#include "columns.cuh"

template <class T>
__global__ void layer_norm(const T* __restrict__ x, const T* __restrict__ weight,
                           const T* __restrict__ bias, T* __restrict__ y, Wide<T>* __restrict__ mean,
                           Wide<T>* __restrict__ rstd, Index rows, Index n, Wide<T> eps,
                           int has_weight, int has_bias) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    A sum = 0;
    for (Index j = threadIdx.x; j < n; j += blockDim.x) sum += load(row, j);
    const A mu = over_row<Sum>(sum) / A(n);
    sum = 0;
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      const A centred = load(row, j) - mu;
      sum += centred * centred;
    }
    const A scale = A(1) / m::sqrt(over_row<Sum>(sum) / A(n) + eps);
    if (threadIdx.x == 0) {
      mean[r] = mu;
      rstd[r] = scale;
    }
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      A value = (load(row, j) - mu) * scale;
      if (has_weight) value *= load(weight, j);
      if (has_bias) value += load(bias, j);
      store(y, r * n + j, value);
    }
  }
}

template <class T>
__global__ void layer_norm_grad(const T* __restrict__ g, const T* __restrict__ x,
                                const T* __restrict__ weight, const Wide<T>* __restrict__ mean,
                                const Wide<T>* __restrict__ rstd, T* __restrict__ gx, Index rows,
                                Index n, int has_weight) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const A mu = mean[r], scale = rstd[r];
    A sum = 0, along = 0;
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      const A gn = load(g, r * n + j) * (has_weight ? load(weight, j) : A(1));
      sum += gn;
      along += gn * ((load(x, r * n + j) - mu) * scale);
    }
    sum = over_row<Sum>(sum) / A(n);
    along = over_row<Sum>(along) / A(n);
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      const A gn = load(g, r * n + j) * (has_weight ? load(weight, j) : A(1));
      const A normal = (load(x, r * n + j) - mu) * scale;
      store(gx, r * n + j, scale * (gn - sum - normal * along));
    }
  }
}

// The sums of g * normal(x) and of g over `per` rows at a time.
template <class T>
__global__ void parameter_grads(const T* __restrict__ g, const T* __restrict__ x,
                                const Wide<T>* __restrict__ mean, const Wide<T>* __restrict__ rstd,
                                Wide<T>* __restrict__ gweight, Wide<T>* __restrict__ gbias,
                                Index rows, Index n, Index per) {
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  const Index begin = blockIdx.y * per, end = begin + per < rows ? begin + per : rows;
  Wide<T> weight = 0, bias = 0;
  if (j < n)
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      const Wide<T> grad = load(g, i * n + j);
      weight += grad * ((load(x, i * n + j) - mean[i]) * rstd[i]);
      bias += grad;
    }
  store_part(weight, gweight, n);
  store_part(bias, gbias, n);
}
