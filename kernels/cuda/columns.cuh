// columns.cuh - sums over the rows of a matrix, in two steps and always in the same order: partial
// sums of `per` rows each, blocks of 32 columns by 8 threads, and then the sum of those.
#include "common.cuh"

// The sum over the THREADS of a block (32, THREADS) that share a column, the same in all of them.
template <int THREADS, class A> __device__ A over_column(A value) {
  __shared__ A parts[THREADS][33];
  __syncthreads();                            // what an earlier call left there has been read
  parts[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  A sum = parts[0][threadIdx.x];
  for (int i = 1; i < THREADS; i++) sum += parts[i][threadIdx.x];
  return sum;
}

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
