// mma.cu - kernels/cuda/mma.cuh laid bare: registers and addresses come from the test.
#include "mma.cuh"

struct alignas(16) Words { unsigned at[4]; };

template <class T>
__global__ void product(const unsigned* a, const unsigned* b, float* sum) {
  const int lane = threadIdx.x;
  unsigned left[4];
  float sums[4];
  for (int i = 0; i < 4; i++) left[i] = a[lane * 4 + i], sums[i] = sum[lane * 4 + i];
  mma<T>(sums, left, b[lane * 2], b[lane * 2 + 1]);
  mma<T>(sums, left, b[lane * 2], b[lane * 2 + 1]);
  for (int i = 0; i < 4; i++) sum[lane * 4 + i] = sums[i];
}

template <bool TRANSPOSED> __global__ void matrices(const unsigned* rows, unsigned* y) {
  __shared__ Words at[32];
  const int lane = threadIdx.x;
  for (int i = 0; i < 4; i++) at[lane].at[i] = rows[lane * 4 + i];
  __syncwarp();
  unsigned got[4];
  ldmatrix<TRANSPOSED>(got, at + lane);
  for (int i = 0; i < 4; i++) y[lane * 4 + i] = got[i];
}

// Each thread copies a pack, and in a second group one or zeros, and a number of its own; it gives
// on what another has copied.
template <int LATEST, int DRAIN> __global__ void copies(const unsigned* x, unsigned* y) {
  __shared__ Words at[2][64];
  __shared__ unsigned alone[64];
  const int i = threadIdx.x;
  copy_async<16>(at[0] + i, x + i * 4, true);
  commit_copies();
  copy_async<16>(at[1] + i, x + i * 4, i % 2 == 0);
  copy_async<4>(alone + i, x + 9, i % 2 == 0);
  commit_copies();
  wait_for_copies<LATEST>();
  __syncthreads();
  for (int j = 0; j < 4; j++) {
    y[i * 8 + j] = at[0][63 - i].at[j];
    y[i * 8 + 4 + j] = at[1][63 - i].at[j] + alone[63 - i];
  }
  if (DRAIN) wait_for_copies<0>();
}

__global__ void early(const unsigned* x, unsigned* y) {   // writes over what is still being read
  __shared__ Words at;
  at.at[0] = 7;
  __syncthreads();
  copy_async<16>(&at, x, true);
  commit_copies();
  y[0] = at.at[0];
  wait_for_copies<0>();
}

__global__ void misaligned(const unsigned* x, unsigned* y, int at) {
  __shared__ Words words[2];
  copy_async<16>(words[0].at + at % 4, x + at / 4, true);
  commit_copies();
  wait_for_copies<0>();
  y[0] = words[0].at[0];
}

__global__ void astray(const unsigned* x, unsigned* y) {
  copy_async<4>(y, x, true);
  commit_copies();
  wait_for_copies<0>();
}

__global__ void half_a_warp(const unsigned* x, unsigned* y) {
  __shared__ Words at[32];
  unsigned got[4] = {};
  at[threadIdx.x].at[0] = x[0];
  if (threadIdx.x < 16) ldmatrix<false>(got, at + threadIdx.x);
  y[threadIdx.x] = got[0];
}
