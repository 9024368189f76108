// update.cu - optimizer steps, one launch for a whole list of parameters, and the sum of gradients.
// h = [learning rate, step] is read here, so that a launch recorded in a CUDA graph sees the numbers
// of today; `guarded` says that there is a third number, and no update where it is 0.
#include "vectors.cuh"

constexpr int CHUNK = 4096;                   // numbers that a block takes at a time

// Up to MOST parameters, none of them empty. It is an argument by value: no table has to be copied
// to the device, and a CUDA graph keeps it with the launch.
template <int MOST> struct Lists {
  void* at[4][MOST];                          // parameters, gradients, and what is kept for them
  Index size[MOST];
  int chunk[MOST];                            // how many chunks all before have
};

// The last parameter that begins at chunk c or before.
template <int MOST>
__device__ __forceinline__ int owner(const Lists<MOST>& lists, int count, int c) {
  int i = 0, end = count;
  while (end - i > 1) {
    const int middle = (i + end) / 2;
    if (lists.chunk[middle] <= c) i = middle;
    else end = middle;
  }
  return i;
}

// The step of one number: from [parameter, gradient, kept...] to what they become.
template <class T, int LISTS, int MOST, class Step>
__device__ __forceinline__ void each_number(const Lists<MOST>& lists, int count, int chunks,
                                            Step step) {
  using A = Wide<T>;
  constexpr int PACK = Pack<T>::size;
  for (int c = blockIdx.x; c < chunks; c += gridDim.x) {
    const int i = owner(lists, count, c);
    const Index begin = Index(c - lists.chunk[i]) * CHUNK, rest = lists.size[i] - begin;
    const int n = rest < CHUNK ? int(rest) : CHUNK;
    T* at[LISTS];
    bool all_aligned = true;
    for (int k = 0; k < LISTS; k++) {
      at[k] = static_cast<T*>(lists.at[k][i]) + begin;
      all_aligned = all_aligned && aligned(at[k]);
    }
    const int packed = all_aligned ? n / PACK * PACK : 0;
    for (int j = threadIdx.x * PACK; j < packed; j += blockDim.x * PACK) {
      Pack<T> packs[LISTS];
      for (int k = 0; k < LISTS; k++) packs[k] = load_pack<PACK>(at[k] + j);
      for (int e = 0; e < PACK; e++) {
        A values[LISTS];
        for (int k = 0; k < LISTS; k++) values[k] = A(packs[k].at[e]);
        step(values);
        for (int k = 0; k < LISTS; k++) packs[k].at[e] = T(values[k]);
      }
      for (int k = 0; k < LISTS; k++)
        if (k != 1) store_pack(at[k] + j, packs[k]);
    }
    for (int j = packed + threadIdx.x; j < n; j += blockDim.x) {
      A values[LISTS];
      for (int k = 0; k < LISTS; k++) values[k] = load(at[k], j);
      step(values);
      for (int k = 0; k < LISTS; k++)
        if (k != 1) store(at[k], j, values[k]);
    }
  }
}

// LISTS is 3 with momentum, and 2 without.
template <class T, int LISTS, int MOST>
__global__ void sgd(const __grid_constant__ Lists<MOST> lists, int count, int chunks,
                    const double* __restrict__ h, int guarded, Wide<T> momentum,
                    Wide<T> weight_decay, int nesterov) {
  using A = Wide<T>;
  if (guarded && h[2] == 0.0) return;
  const A lr = A(h[0]);
  each_number<T, LISTS>(lists, count, chunks, [=](A (&of)[LISTS]) {
    A d = of[1] + weight_decay * of[0];
    if constexpr (LISTS == 3) {
      of[2] = momentum * of[2] + d;
      d = nesterov ? d + momentum * of[2] : of[2];
    }
    of[0] -= lr * d;
  });
}

// The scalars of a step, formed in double by one thread of each block.
template <class T, int MOST>
__global__ void adam(const __grid_constant__ Lists<MOST> lists, int count, int chunks,
                     const double* __restrict__ h, int guarded, double beta1, double beta2,
                     double eps, double weight_decay, int decoupled) {
  using A = Wide<T>;
  if (guarded && h[2] == 0.0) return;         // all threads: none waits at the barrier
  __shared__ A shared_rate, shared_root, shared_keep;
  if (threadIdx.x == 0) {
    shared_rate = A(h[0] / (1.0 - pow(beta1, h[1])));
    shared_root = A(sqrt(1.0 / (1.0 - pow(beta2, h[1]))));
    shared_keep = decoupled ? A(1.0 - h[0] * weight_decay) : A(1);
  }
  __syncthreads();
  const A rate = shared_rate, root = shared_root, keep = shared_keep;
  const A b1 = A(beta1), b2 = A(beta2), rest1 = A(1.0 - beta1), rest2 = A(1.0 - beta2);
  const A tiny = A(eps), decay = decoupled ? A(0) : A(weight_decay);
  each_number<T, 4>(lists, count, chunks, [=](A (&of)[4]) {
    const A d = of[1] + decay * of[0];
    of[2] = b1 * of[2] + rest1 * d;
    of[3] = b2 * of[3] + rest2 * d * d;
    of[0] = keep * of[0] - rate * of[2] / (m::sqrt(of[3]) * root + tiny);
  });
}

// `go` may be h itself where it is not given.
__global__ void advance_step(double* h, const double* go, int given) {
  h[1] += given ? go[0] : 1.0;
  if (given) h[2] = go[0];
}

// h = [loss scale, good steps].
__global__ void advance_scale(double* h, const double* go, double interval, double factor,
                              double least) {
  const double good = (h[1] + 1.0) * go[0];
  const bool grown = good >= interval;
  h[0] = m::max(h[0] * (go[0] == 0.0 ? 1.0 / factor : grown ? factor : 1.0), least);
  h[1] = grown ? 0.0 : good;
}

// All numbers of the lists times *by. Blocks that meet one that is not finite then write 0 to
// *finite: all the same, so it does not matter which is the last.
template <class T, int MOST>
__global__ void rescale(const __grid_constant__ Lists<MOST> lists, int count, int chunks,
                        const double* __restrict__ by, double* finite) {
  using A = Wide<T>;
  const A factor = A(by[0]);
  bool all = true;
  each_number<T, 1>(lists, count, chunks, [&](A (&of)[1]) {
    of[0] = A(T(of[0] * factor));
    all = all && of[0] - of[0] == A(0);
  });
  if (!all) *finite = 0.0;
}

// total += g, V numbers at a time. They may be one array.
template <class T, int V> __global__ void accumulate(T* total, const T* g, Index n) {
  for (Index i = first() * V; i < n; i += stride() * V) {
    auto sum = load_pack<V>(total + i);
    const auto pack = load_pack<V>(g + i);
    for (int e = 0; e < V; e++) sum.at[e] = T(Wide<T>(sum.at[e]) + Wide<T>(pack.at[e]));
    store_pack(total + i, sum);
  }
}

// parts[c] becomes the sum of the squares in chunk c of lists.at[0].
template <class T, int MOST>
__global__ void square_parts(const __grid_constant__ Lists<MOST> lists, int count, int chunks,
                             double* __restrict__ parts) {
  constexpr int PACK = Pack<T>::size;
  for (int c = blockIdx.x; c < chunks; c += gridDim.x) {
    const int i = owner(lists, count, c);
    const Index begin = Index(c - lists.chunk[i]) * CHUNK, rest = lists.size[i] - begin;
    const int n = rest < CHUNK ? int(rest) : CHUNK;
    const T* x = static_cast<const T*>(lists.at[0][i]) + begin;
    const int packed = aligned(x) ? n / PACK * PACK : 0;
    double sum = 0.0;
    for (int j = threadIdx.x * PACK; j < packed; j += blockDim.x * PACK) {
      const auto pack = load_pack<PACK>(x + j);
      for (int e = 0; e < PACK; e++) sum += double(Wide<T>(pack.at[e])) * double(Wide<T>(pack.at[e]));
    }
    for (int j = packed + threadIdx.x; j < n; j += blockDim.x) {
      const double value = double(load(x, j));
      sum += value * value;
    }
    sum = over_row<Sum>(sum);
    if (threadIdx.x == 0) parts[c] = sum;
  }
}

// One block: *total becomes the sum of n parts.
__global__ void sum_parts(const double* __restrict__ parts, double* total, Index n) {
  double sum = 0.0;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) sum += parts[i];
  sum = over_row<Sum>(sum);
  if (threadIdx.x == 0) *total = sum;
}
