// softmax.cuh - the two numbers of a row that every softmax needs, the same in all its threads.
#include "common.cuh"

// The largest number of a row, or 0 where that is infinite: shifting by it would give NaN.
template <class T> __device__ Wide<T> shift_of(const T* x, Index n) {
  Wide<T> top = load(x, 0);
  for (Index j = threadIdx.x; j < n; j += blockDim.x) top = m::max(top, load(x, j));
  top = over_row<Max>(top);
  return isfinite(top) ? top : Wide<T>(0);
}

template <class T> __device__ Wide<T> sum_of_exp(const T* x, Index n, Wide<T> top) {
  Wide<T> sum = 0;
  for (Index j = threadIdx.x; j < n; j += blockDim.x) sum += m::exp(load(x, j) - top);
  return over_row<Sum>(sum);
}
