// column_sums.cuh - deterministic sums over the rows of a matrix in two passes: partial sums of
// `per` rows each, by blocks of 32 columns x 8 threads, and then the sum of those, in order.
#include "common.cuh"

// The block's 8 partial sums of each column, added up and stored.
template <class A> __device__ void store_part(A sum, A* sums, Index n) {
  const Index column = blockIdx.x * Index(32) + threadIdx.x;
  sum = over_column<8>(sum);
  if (threadIdx.y == 0 && column < n) sums[blockIdx.y * n + column] = sum;
}

template <class T> __global__ void add_parts(const Wide<T>* sums, T* y, Index parts, Index n) {
  for (Index i = first(); i < n; i += stride()) {
    Wide<T> sum = 0;
    for (Index part = 0; part < parts; part++) sum += sums[part * n + i];
    store(y, i, sum);
  }
}
