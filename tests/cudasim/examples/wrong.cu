// wrong.cu - kernels with one mistake each, and `fine`, which must work after each of them.
template <class T> __global__ void no_barrier(const T* x, T* y) {
  __shared__ T s[64];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void no_barrier_in_order(float* y) {   // right when thread 0 runs first
  __shared__ float s;
  if (threadIdx.x == 0) s = 7.f;
  y[threadIdx.x] = s;
}
extern "C" __global__ void left_over(float* y) {             // hopes for the block before
  __shared__ float s;
  if (blockIdx.x == 0) s = 7.f;
  __syncthreads();
  y[blockIdx.x] = s;
}
extern "C" __global__ void skipped_barrier(float* y) {
  if (threadIdx.x < 32) __syncthreads();
  y[threadIdx.x] = 1.f;
}
extern "C" __global__ void two_barriers(float* y) {
  if (threadIdx.x < 32) __syncthreads();
  else __syncthreads();
}
extern "C" __global__ void mask_lacks_caller(float* y) {
  y[threadIdx.x] = __shfl_down_sync(0x0000ffffu, y[threadIdx.x], 1);
}
extern "C" __global__ void mask_names_exited(float* y) {
  if (threadIdx.x >= 16) return;
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, y[threadIdx.x], 1);
}
extern "C" __global__ void mask_at_two_places(float* y) {
  float v = y[threadIdx.x];
  if (threadIdx.x < 16) v = __shfl_xor_sync(0xffffffffu, v, 1);
  else v = __shfl_xor_sync(0xffffffffu, v, 2);
  y[threadIdx.x] = v;
}
extern "C" __global__ void reads_outside_mask(float* y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0x0000ffffu, y[threadIdx.x], 20);
}
extern "C" __global__ void overrun(float* y) {
  extern __shared__ float s[];
  s[threadIdx.x] = 1.f;
}
extern "C" __global__ void asserts(float* y) { assert(y[0] == 12345.f); }
extern "C" __global__ void deep(float* y) {
  volatile float big[40000];
  for (int i = 0; i < 40000; i++) big[i] = i;
  y[0] = big[39999];
}
extern "C" __global__ void fine(float* y, float a, long long n) {
  __shared__ float s[64];
  s[threadIdx.x] = a * threadIdx.x;
  __syncthreads();
  if (threadIdx.x < n) y[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void warps_in_step(float* y) {   // right as long as no warp runs ahead
  __shared__ float at[64];
  at[threadIdx.x] = 7;
  __syncthreads();
  __syncwarp();
  const float other = at[63 - threadIdx.x];
  __syncwarp();
  at[threadIdx.x] = 0;
  y[threadIdx.x] = other;
}
