// reduce.cu - softmax and its family, a row a team of threads.
#include "softmax.cuh"

template <class T>
__global__ void softmax(const T* __restrict__ x, T* __restrict__ y, Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    const Wide<T> top = shift_of(row, n), scale = Wide<T>(1) / sum_of_exp(row, n, top);
    for (Index j = threadIdx.x; j < n; j += blockDim.x)
      store(y, r * n + j, m::exp(load(row, j) - top) * scale);
  }
}

template <class T>
__global__ void log_softmax(const T* __restrict__ x, T* __restrict__ y, Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * n;
    const Wide<T> top = shift_of(row, n), shift = m::log(sum_of_exp(row, n, top));
    for (Index j = threadIdx.x; j < n; j += blockDim.x)
      store(y, r * n + j, (load(row, j) - top) - shift);
  }
}

template <class T>
__global__ void softmax_grad(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ out,
                             Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    Wide<T> sum = 0;
    for (Index j = threadIdx.x; j < n; j += blockDim.x)
      sum += load(g, r * n + j) * load(y, r * n + j);
    sum = over_row<Sum>(sum);
    for (Index j = threadIdx.x; j < n; j += blockDim.x)
      store(out, r * n + j, load(y, r * n + j) * (load(g, r * n + j) - sum));
  }
}

template <class T>
__global__ void log_softmax_grad(const T* __restrict__ g, const T* __restrict__ y,
                                 T* __restrict__ out, Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    Wide<T> sum = 0;
    for (Index j = threadIdx.x; j < n; j += blockDim.x) sum += load(g, r * n + j);
    sum = over_row<Sum>(sum);
    for (Index j = threadIdx.x; j < n; j += blockDim.x)
      store(out, r * n + j, load(g, r * n + j) - m::exp(load(y, r * n + j)) * sum);
  }
}
