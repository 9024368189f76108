// update.cu - multi-tensor optimizer steps, one launch for a whole list of parameters, and the
// accumulation of gradients. hyper = [learning rate, step] is read from device memory, so that a
// launch recorded in a CUDA graph sees its values at each launch; if `conditional` there is one number
// more, and the step is skipped where it is 0.
#include "vectors.cuh"

constexpr int CHUNK = 4096;                   // elements that a block takes at a time

// Addresses and sizes of up to MOST parameters, none of them empty. It is passed by value: no table
// is copied to the device, and a CUDA graph stores it with the launch.
template <int MOST> struct Lists {
  void* at[5][MOST];                          // parameters, gradients, and their states
  Index size[MOST];
  int chunk[MOST];                            // the first chunk: a running sum
};

// The parameter that chunk c belongs to, by binary search.
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

// Maps `step` over the elements of all parameters: it takes [parameter, gradient, states...] and
// overwrites all but the gradient.
template <class T, int LISTS, int MOST, class Step>
__device__ __forceinline__ void for_each_element(const Lists<MOST>& lists, int count, int chunks,
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

// Options of a formula that are numbers.
struct Options {
  double at[16];
};

// The formula F (kernels/formulas.py), written out by kernels/tracing.py. What it computes once, in
// double, one thread of each block does.
template <class F, class T, int MOST>
__global__ void step(const __grid_constant__ Lists<MOST> lists, int count, int chunks,
                     const double* __restrict__ hyper, int conditional,
                     const __grid_constant__ Options options) {
  using A = Wide<T>;
  if (conditional && hyper[F::CLOCK] == 0.0) return;   // all threads: none waits at the barrier
  __shared__ A shared[F::NUMBERS];
  if (threadIdx.x == 0) F::template numbers<A>(hyper, options.at, shared);
  __syncthreads();
  A numbers[F::NUMBERS];
  for (int k = 0; k < F::NUMBERS; k++) numbers[k] = shared[k];
  for_each_element<T, F::LISTS>(lists, count, chunks,
                                [=](A (&at)[F::LISTS]) { F::of(at, numbers); });
}

// `apply_if` may be hyper itself where it is not given.
__global__ void advance_step(double* hyper, const double* apply_if, int given, int last) {
  hyper[1] += given ? apply_if[0] : 1.0;
  if (given) hyper[last] = apply_if[0];
}

// Dynamic loss scaling: scaling = [loss scale, good steps].
__global__ void advance_scale(double* scaling, const double* finite, double interval, double factor,
                              double least) {
  const double good = (scaling[1] + 1.0) * finite[0];
  const bool grown = good >= interval;
  const double change = finite[0] == 0.0 ? 1.0 / factor : grown ? factor : 1.0;
  scaling[0] = m::max(scaling[0] * change, least);
  scaling[1] = grown ? 0.0 : good;
}

// Multiplies all arrays by *by. Blocks that then find an element that is not finite write 0 to
// *finite: all the same value, so the race is benign.
template <class T, int MOST>
__global__ void rescale(const __grid_constant__ Lists<MOST> lists, int count, int chunks,
                        const double* __restrict__ by, double* finite) {
  using A = Wide<T>;
  const A factor = A(by[0]);
  bool all = true;
  for_each_element<T, 1>(lists, count, chunks, [&](A (&of)[1]) {
    of[0] = A(T(of[0] * factor));
    all = all && of[0] - of[0] == A(0);
  });
  if (!all) *finite = 0.0;
}

// lists.at[1] = lists.at[0], in another dtype.
template <class S, class T, int MOST>
__global__ void cast_all(const __grid_constant__ Lists<MOST> lists, int count, int chunks) {
  constexpr int PACK = Pack<S>::size < Pack<T>::size ? Pack<S>::size : Pack<T>::size;
  for (int c = blockIdx.x; c < chunks; c += gridDim.x) {
    const int i = owner(lists, count, c);
    const Index begin = Index(c - lists.chunk[i]) * CHUNK, rest = lists.size[i] - begin;
    const int n = rest < CHUNK ? int(rest) : CHUNK;
    const S* x = static_cast<const S*>(lists.at[0][i]) + begin;
    T* y = static_cast<T*>(lists.at[1][i]) + begin;
    const int packed = aligned(x) && aligned(y) ? n / PACK * PACK : 0;
    for (int j = threadIdx.x * PACK; j < packed; j += blockDim.x * PACK) {
      const auto pack = load_pack<PACK>(x + j);
      Pack<T, PACK> made;
      for (int e = 0; e < PACK; e++) made.at[e] = T(Wide<S>(pack.at[e]));
      store_pack(y + j, made);
    }
    for (int j = packed + threadIdx.x; j < n; j += blockDim.x) y[j] = T(load(x, j));
  }
}

// total += g, V elements at a time. Both may be the same array.
template <class T, int V> __global__ void accumulate(T* total, const T* g, Index n) {
  for (Index i = first() * V; i < n; i += stride() * V) {
    auto sum = load_pack<V>(total + i);
    const auto pack = load_pack<V>(g + i);
    for (int e = 0; e < V; e++) sum.at[e] = T(Wide<T>(sum.at[e]) + Wide<T>(pack.at[e]));
    store_pack(total + i, sum);
  }
}

// Partial sums: parts[c] becomes the sum of squares of chunk c of lists.at[0].
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

// One block: *total becomes the sum of the n partial sums.
__global__ void sum_parts(const double* __restrict__ parts, double* total, Index n) {
  double sum = 0.0;
  for (Index i = threadIdx.x; i < n; i += blockDim.x) sum += parts[i];
  sum = over_row<Sum>(sum);
  if (threadIdx.x == 0) *total = sum;
}
