// pool.cu - pooling of planes (h, w) into (out_h, out_w) windows, a thread for each element of the
// result; and gather and scatter-add by given places, which adds in a fixed order.
#include "common.cuh"

struct Windows {
  int h, w, out_h, out_w, size_h, size_w, stride_h, stride_w, pad_h, pad_w;
};

__device__ __forceinline__ int larger(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ int smaller(int a, int b) { return a < b ? a : b; }

// Along one axis: what of the plane window i covers, and which windows cover place i of the plane.
struct Span {
  int begin, end;
};
__device__ __forceinline__ Span covered(int i, int n, int size, int stride, int pad) {
  const int begin = i * stride - pad;
  return {larger(begin, 0), smaller(begin + size, n)};
}
__device__ __forceinline__ Span covering(int i, int out, int size, int stride, int pad) {
  const int last = i + pad, below = last - size;
  return {below < 0 ? 0 : below / stride + 1, smaller(last / stride + 1, out)};
}

// The maximum and its place; the first of equal ones, and NaN counts as the largest.
template <class T>
__global__ void max_pool2d(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ where,
                           Index size, Windows of) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Index row = i / of.out_w, plane = row / of.out_h;
    const int out_i = int(row - plane * of.out_h), out_j = int(i - row * of.out_w);
    const Span rows = covered(out_i, of.h, of.size_h, of.stride_h, of.pad_h);
    const Span columns = covered(out_j, of.w, of.size_w, of.stride_w, of.pad_w);
    const T* from = x + plane * of.h * of.w;
    int place = rows.begin * of.w + columns.begin;
    A best = load(from, place);
    for (int r = rows.begin; r < rows.end; r++)
      for (int c = columns.begin; c < columns.end; c++) {
        const A value = load(from, r * of.w + c);
        if (value <= best || best != best) continue;
        best = value;
        place = r * of.w + c;
      }
    store(y, i, best);
    where[i] = place;
  }
}

template <class T>
__global__ void avg_pool2d(const T* __restrict__ x, T* __restrict__ y, Index size, Windows of,
                           Wide<T> share) {
  for (Index i = first(); i < size; i += stride()) {
    const Index row = i / of.out_w, plane = row / of.out_h;
    const int out_i = int(row - plane * of.out_h), out_j = int(i - row * of.out_w);
    const Span rows = covered(out_i, of.h, of.size_h, of.stride_h, of.pad_h);
    const Span columns = covered(out_j, of.w, of.size_w, of.stride_w, of.pad_w);
    const T* from = x + plane * of.h * of.w;
    Wide<T> sum = 0;
    for (int r = rows.begin; r < rows.end; r++)
      for (int c = columns.begin; c < columns.end; c++) sum += load(from, Index(r) * of.w + c);
    store(y, i, sum * share);
  }
}

// A gather instead of a scatter: each element of y sums over the windows that cover it.
template <class T>
__global__ void avg_pool2d_grad(const T* __restrict__ x, T* __restrict__ y, Index size, Windows of,
                                Wide<T> share) {
  for (Index i = first(); i < size; i += stride()) {
    const Index row = i / of.w, plane = row / of.h;
    const int at_i = int(row - plane * of.h), at_j = int(i - row * of.w);
    const Span rows = covering(at_i, of.out_h, of.size_h, of.stride_h, of.pad_h);
    const Span columns = covering(at_j, of.out_w, of.size_w, of.stride_w, of.pad_w);
    const T* from = x + plane * of.out_h * of.out_w;
    Wide<T> sum = 0;
    for (int r = rows.begin; r < rows.end; r++)
      for (int c = columns.begin; c < columns.end; c++) sum += load(from, Index(r) * of.out_w + c);
    store(y, i, sum * share);
  }
}

// ------------------------------------------------------------------------------------------ places

// A place outside the plane gives NaN: to raise an error, the host would have to wait.
template <class T, class L>
__global__ void gather_places(const T* __restrict__ x, const L* __restrict__ where,
                              T* __restrict__ y, Index size, Index n, Index plane) {
  for (Index i = first(); i < size; i += stride()) {
    const Index place = where[i];
    Wide<T> value = __int_as_float(0x7fffffff);
    if (place >= 0 && place < plane) value = load(x, i / n * plane + place);
    store(y, i, value);
  }
}

constexpr int BAND = 2048;                    // places of a plane that a block owns
constexpr int NONE = 0x7fffffff;

// A deterministic scatter-add: each round adds one element to every place, the first that is left,
// so sums have the order of the input and need no floating-point atomics. There are as many rounds
// as windows that share a place.
template <class T, class L>
__global__ void scatter_places(const T* __restrict__ x, const L* __restrict__ where,
                               T* __restrict__ y, Index planes, int n, Index plane) {
  __shared__ Wide<T> sums[BAND];
  __shared__ int added[BAND], next[BAND];     // of each place: the last element added, and the next
  const Index bands = (plane + BAND - 1) / BAND;
  for (Index w = blockIdx.x; w < planes * bands; w += gridDim.x) {
    const Index begin = w % bands * BAND, from = w / bands * n, to = w / bands * plane + begin;
    const int places = plane - begin < BAND ? int(plane - begin) : BAND;
    for (int p = threadIdx.x; p < places; p += blockDim.x) {
      sums[p] = 0;
      added[p] = -1;
      next[p] = NONE;
    }
    for (bool more = true; more;) {
      __syncthreads();
      for (int k = threadIdx.x; k < n; k += blockDim.x) {
        const Index p = where[from + k] - begin;
        if (p >= 0 && p < places && k > added[p]) atomicMin(&next[p], k);
      }
      __syncthreads();
      bool left = false;
      for (int k = threadIdx.x; k < n; k += blockDim.x) {
        const Index p = where[from + k] - begin;
        if (p < 0 || p >= places) continue;
        if (k == next[p]) sums[p] += load(x, from + k);
        left = left || (k > added[p] && k > next[p]);
      }
      more = __syncthreads_or(left);
      for (int p = threadIdx.x; p < places; p += blockDim.x) {
        added[p] = next[p];
        next[p] = NONE;
      }
    }
    for (int p = threadIdx.x; p < places; p += blockDim.x) store(y, to + p, sums[p]);
  }
}
