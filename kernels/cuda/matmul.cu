// matmul.cu - the epilogue of a dense layer's product (bias, activation), and its backward.
#include "scalars.cuh"
#include "column_sums.cuh"

// In place, z = F(z + b), in tiles of 32 columns. Without a bias b is not read.
template <class F, class T>
__global__ void activate(const T* __restrict__ b, T* z, Index rows, Index n, int has_bias) {
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  if (j >= n) return;
  const Wide<T> bias = has_bias ? load(b, j) : Wide<T>(0);
  for (Index i = blockIdx.y * Index(8) + threadIdx.y; i < rows; i += gridDim.y * Index(8))
    store(z, i * n + j, F::of(load(z, i * n + j) + bias, Wide<T>(0)));
}

// z = z + b and y = F(z + b).
template <class F, class T>
__global__ void activate_beside(const T* __restrict__ b, T* z, T* __restrict__ y, Index rows,
                                Index n, int has_bias) {
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  if (j >= n) return;
  const Wide<T> bias = has_bias ? load(b, j) : Wide<T>(0);
  for (Index i = blockIdx.y * Index(8) + threadIdx.y; i < rows; i += gridDim.y * Index(8)) {
    const Wide<T> value = load(z, i * n + j) + bias;
    store(z, i * n + j, value);
    store(y, i * n + j, F::of(value, Wide<T>(0)));
  }
}

template <class F> struct Writes { static constexpr bool gz = true; };
template <> struct Writes<f::none_grad> { static constexpr bool gz = false; };

// gz = F(g, y), and its partial sums over `per` rows.
template <class F, class T>
__global__ void graded(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ gz,
                       Wide<T>* __restrict__ sums, Index rows, Index n, Index per) {
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  const Index begin = blockIdx.y * per, end = begin + per < rows ? begin + per : rows;
  Wide<T> sum = 0;
  if (j < n)
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      const Wide<T> value = F::of(load(g, i * n + j), load(y, i * n + j), Wide<T>(0));
      if constexpr (Writes<F>::gz) store(gz, i * n + j, value);
      sum += value;
    }
  store_part(sum, sums, n);
}
