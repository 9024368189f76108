// right.cu - kernels that must give the right answer in every order of threads.
#include <cuda_fp16.h>
#include <cuda_bf16.h>
__device__ __forceinline__ float warp_max(float v) {
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}
template <class T> __device__ T block_sum(T v) {
  __shared__ T part[32];
  for (int o = 16; o; o >>= 1) v += __shfl_down_sync(0xffffffffu, v, o);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = 0;
  for (int i = 0; i < blockDim.x / 32; i++) v += part[i];
  __syncthreads();
  return v;
}
template <class T> __global__ void softmax(const T* x, T* y, long long n) {
  extern __shared__ float top[];
  x += blockIdx.x * n;
  y += blockIdx.x * n;
  float m = __int_as_float(0xff800000);
  for (long long i = threadIdx.x; i < n; i += blockDim.x) m = fmaxf(m, float(x[i]));
  m = warp_max(m);
  if (threadIdx.x % 32 == 0) top[threadIdx.x / 32] = m;
  __syncthreads();
  for (int i = 0; i < blockDim.x / 32; i++) m = fmaxf(m, top[i]);
  float s = 0.f;
  for (long long i = threadIdx.x; i < n; i += blockDim.x) s += expf(float(x[i]) - m);
  s = block_sum(s);
  for (long long i = threadIdx.x; i < n; i += blockDim.x) y[i] = T(expf(float(x[i]) - m) / s);
}
template <class From, class To> __global__ void convert(const From* x, To* y, long long n) {
  long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i < n) y[i] = To(x[i]);
}
extern "C" __global__ void groups(int* y) {   // half-warps with different numbers of shuffles
  const int lane = threadIdx.x, mask = lane < 16 ? 0x0000ffff : 0xffff0000;
  int v = lane;
  for (int i = 0; i < (lane < 16 ? 3 : 2); i++) v = __shfl_xor_sync(mask, v, 1);
  v = __shfl_sync(0xffffffffu, v, 31 - lane);
  y[lane] = v + 1000 * __popc(__ballot_sync(0xffffffffu, lane % 2));
}
extern "C" __global__ void votes(int* y) {
  const int count = __syncthreads_count(threadIdx.x < 7), all = __syncthreads_and(1);
  y[threadIdx.x] = count * 100 + all * 10 + __syncthreads_or(threadIdx.x == 3);
}
extern "C" __global__ void last_block(const float* x, float* y, unsigned* done, int n) {
  float s = 0.f;
  for (int i = threadIdx.x; i < n; i += 32) s += x[blockIdx.x * n + i];
  s = block_sum(s);
  __shared__ bool last;
  if (threadIdx.x == 0) {
    y[1 + blockIdx.x] = s;
    __threadfence();
    last = atomicAdd(done, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last || threadIdx.x) return;
  y[0] = 0;
  for (int b = 0; b < gridDim.x; b++) y[0] += y[1 + b];
}
extern "C" __global__ void block_ids(int* y, int* next) {
  y[atomicAdd(next, 1)] = blockIdx.x + 100 * blockIdx.y;
}
