// common.cuh - what all kernels share.
//
// Kernels compute in Wide<T>: float for halves and float, double for double. The text also goes to
// NVRTC, which has no host headers (no INFINITY, no <math.h>), and to g++ in the tests. Indices are
// 64 bits: an array may hold more than 2^31 numbers. Literals are A(0.5), with A the type computed
// in: a bare 0.5 would be double and slow in a float kernel.
#include <cuda_fp16.h>
#include <cuda_bf16.h>

typedef long long Index;

template <class T> struct WideOf { using type = float; };
template <> struct WideOf<double> { using type = double; };
template <class T> using Wide = typename WideOf<T>::type;

template <class T> __device__ __forceinline__ Wide<T> load(const T* x, Index i) {
  return Wide<T>(x[i]);
}
template <class T> __device__ __forceinline__ void store(T* y, Index i, Wide<T> value) {
  y[i] = T(value);
}

// ---------------------------------------------------------------- functions of float and of double

namespace m {
__device__ __forceinline__ float exp(float x) { return ::expf(x); }
__device__ __forceinline__ double exp(double x) { return ::exp(x); }
__device__ __forceinline__ float expm1(float x) { return ::expm1f(x); }
__device__ __forceinline__ double expm1(double x) { return ::expm1(x); }
__device__ __forceinline__ float log(float x) { return ::logf(x); }
__device__ __forceinline__ double log(double x) { return ::log(x); }
__device__ __forceinline__ float log1p(float x) { return ::log1pf(x); }
__device__ __forceinline__ double log1p(double x) { return ::log1p(x); }
__device__ __forceinline__ float tanh(float x) { return ::tanhf(x); }
__device__ __forceinline__ double tanh(double x) { return ::tanh(x); }
__device__ __forceinline__ float sqrt(float x) { return ::sqrtf(x); }
__device__ __forceinline__ double sqrt(double x) { return ::sqrt(x); }
__device__ __forceinline__ float abs(float x) { return ::fabsf(x); }
__device__ __forceinline__ double abs(double x) { return ::fabs(x); }
__device__ __forceinline__ float max(float x, float y) { return ::fmaxf(x, y); }
__device__ __forceinline__ double max(double x, double y) { return ::fmax(x, y); }
// Never fused with a sum: rounded as wherever else the product is formed.
__device__ __forceinline__ float multiply(float x, float y) { return __fmul_rn(x, y); }
__device__ __forceinline__ double multiply(double x, double y) { return __dmul_rn(x, y); }
}  // namespace m

// ---------------------------------------------------------------------------------- grid and block

// A grid-stride loop: for (Index i = first(); i < n; i += stride())
__device__ __forceinline__ Index first() { return blockIdx.x * Index(blockDim.x) + threadIdx.x; }
__device__ __forceinline__ Index stride() { return gridDim.x * Index(blockDim.x); }

// Rows: a team of blockDim.x threads takes one row, blockDim.y rows a block. A team is a warp
// (blockDim.x == 32), or the whole block (blockDim.y == 1), so that its barriers meet all threads.
// for (Index r = first_row(); r < rows; r += row_stride())
__device__ __forceinline__ Index first_row() {
  return blockIdx.x * Index(blockDim.y) + threadIdx.y;
}
__device__ __forceinline__ Index row_stride() { return gridDim.x * Index(blockDim.y); }

struct Sum {
  template <class A> static __device__ __forceinline__ A of(A x, A y) { return x + y; }
};
struct Max {
  template <class A> static __device__ __forceinline__ A of(A x, A y) { return m::max(x, y); }
};

// All-reduce over a team's threads: warp shuffles, then shared memory.
template <class Combine, class A> __device__ A over_row(A value) {
  for (int lanes = 16; lanes; lanes /= 2)
    value = Combine::of(value, __shfl_xor_sync(0xffffffffu, value, lanes));
  if (blockDim.x > 32) {
    __shared__ A parts[32];
    __syncthreads();                          // what an earlier call left there has been read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = parts[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++) value = Combine::of(value, parts[w]);
  }
  return value;
}

// All-reduce: the sum over the THREADS of a block (32, THREADS) that share a column.
template <int THREADS, class A> __device__ A over_column(A value) {
  __shared__ A parts[THREADS][33];
  __syncthreads();                            // what an earlier call left there has been read
  parts[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  A sum = parts[0][threadIdx.x];
  for (int i = 1; i < THREADS; i++) sum += parts[i][threadIdx.x];
  return sum;
}
