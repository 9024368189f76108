// attention_common.cuh - what all kernels of attention share: shapes and strides, which head and
// rows are a block's, and the masks.
#include "register_tiles.cuh"

struct Strides {
  Index batch, head, row;
};
// Matrices of a head: q (rows, depth), k (keys, depth), v (keys, columns), y and g (rows, columns).
struct Shape {
  Strides q, k, v, mask, y, g, gq, gk, gv;
  Index mask_key;
  int heads, rows, keys, depth, columns, causal, masked, packed;
};
enum { BOOLEAN = 1, ADDED = 2 };              // masked

template <class A> __device__ __forceinline__ A minus_infinity() {
  return A(__int_as_float(0xff800000));
}
template <class A> __device__ __forceinline__ A finite(A x) { return isfinite(x) ? x : A(0); }

// A warp-level reduction over the SHARE neighbouring threads that hold one row; all get the result.
template <class Combine, int SHARE, class A> __device__ __forceinline__ A over_line(A value) {
#pragma unroll
  for (int lanes = SHARE / 2; lanes; lanes /= 2)
    value = Combine::of(value, __shfl_xor_sync(0xffffffffu, value, lanes));
  return value;
}

// What a block works on: a head, and `size` lines of it from `first` on.
struct Task {
  Index head;
  int batch, inner, first;
  __device__ __forceinline__ Task(const Shape& s, int lines, int size, bool last_first) {
    const int tiles = (lines + size - 1) / size, tile = blockIdx.x % tiles;
    head = blockIdx.x / tiles;
    batch = int(head / s.heads);
    inner = int(head % s.heads);
    first = (last_first ? tiles - 1 - tile : tile) * size;
  }
  template <class T> __device__ __forceinline__ T* of(T* x, const Strides& step) const {
    return x + batch * step.batch + inner * step.head;
  }
  template <class T>
  __device__ __forceinline__ Rows<T> rows(const T* x, const Strides& step, int count, int width,
                                          const Shape& s) const {
    return {of(x, step), step.row, count, width, s.packed != 0};
  }
};

// A score under the masks, from the product of query and key.
template <class T> struct Scores {
  using A = Wide<T>;
  const void* mask;
  Index at;
  const Shape& s;
  A scale;
  __device__ __forceinline__ Scores(const void* mask, const Task& task, const Shape& s, A scale)
      : mask(mask), at(task.batch * s.mask.batch + task.inner * s.mask.head), s(s), scale(scale) {}
  __device__ __forceinline__ A of(A product, int row, int key) const {
    if (row >= s.rows || key >= s.keys || (s.causal && key > row)) return minus_infinity<A>();
    const A score = m::multiply(product, scale);
    if (!s.masked) return score;
    const Index i = at + row * s.mask.row + key * s.mask_key;
    if (s.masked == BOOLEAN)
      return static_cast<const unsigned char*>(mask)[i] ? score : minus_infinity<A>();
    const A added = load(static_cast<const T*>(mask), i);  // -inf hides a NaN
    return added == minus_infinity<A>() ? added : score + added;
  }
  __device__ __forceinline__ bool sees(int row, int key) const {
    if (row >= s.rows || key >= s.keys || (s.causal && key > row)) return false;
    const Index i = at + row * s.mask.row + key * s.mask_key;
    if (s.masked == BOOLEAN) return static_cast<const unsigned char*>(mask)[i];
    return !s.masked || load(static_cast<const T*>(mask), i) != minus_infinity<A>();
  }
  // Do all of these rows see all of these keys?
  __device__ __forceinline__ bool whole(int row, int rows, int key, int keys) const {
    return !s.masked && row + rows <= s.rows && key + keys <= s.keys &&
           !(s.causal && key + keys - 1 > row);
  }
};

// ------------------------------------------------------- what is not seen counts as nothing, even NaN
// Products of tiles take it times 0. Where sums end up NaN or infinite, the warp that holds them
// does its lines again, and leaves out what they do not see.

template <class A, int H, int W> __device__ __forceinline__ bool odd(const A (&sums)[H][W]) {
  A zero = 0;
#pragma unroll
  for (int h = 0; h < H; h++)
#pragma unroll
    for (int w = 0; w < W; w++) zero += sums[h][w] * A(0);
  return !(zero == A(0));
}
template <class A, int M, int N, int W>
__device__ __forceinline__ bool odd(const A (&sums)[M][N][W]) {
  bool any = false;
#pragma unroll
  for (int m = 0; m < M; m++) any |= odd(sums[m]);
  return any;
}

template <class T> struct Matrices {
  Rows<T> q, k, v, g;
  const Wide<T> *lse, *along;                 // of the rows of q
};

// Some lines of a result, which are of queries or OF_KEYS: the sums over the other side's rows x of
// the probabilities, or OF_D of the gradients of the scores, times x.
template <bool OF_KEYS, bool OF_D, class T>
__device__ __noinline__ void lines_apart(T* to, Index step, int first, int lines,
                                         const Matrices<T>& of, const Rows<T>& x,
                                         const Scores<T>& scores, Wide<T> factor) {
  using A = Wide<T>;
  const int lane = threadIdx.x % 32;
  for (int line = first; line < first + lines && line < (OF_KEYS ? of.k : of.q).count; line++) {
    A sums[4] = {};                           // of columns 32 apart
    for (int begin = 0; begin < x.count; begin += 32) {
      const int row = OF_KEYS ? begin + lane : line, key = OF_KEYS ? line : begin + lane;
      const int seen = scores.sees(row, key);
      A weight = 0;
      if (seen) {
        A product = 0, along = 0;
        for (int d = 0; d < of.q.width; d++)
          product += load(of.q.of(row, d), 0) * load(of.k.of(key, d), 0);
        const A lse = of.lse[row] == minus_infinity<A>() ? A(0) : of.lse[row];
        weight = m::exp(scores.of(product, row, key) - lse);
        for (int c = 0; OF_D && c < of.v.width; c++)
          along += load(of.g.of(row, c), 0) * load(of.v.of(key, c), 0);
        if (OF_D) weight *= along - of.along[row];
      }
      __syncwarp();
      for (int t = 0; t < 32; t++) {
        const A w = __shfl_sync(0xffffffffu, weight, t);
        if (!__shfl_sync(0xffffffffu, seen, t)) continue;
        for (int e = 0; e < 4; e++)
          if (lane + e * 32 < x.width) sums[e] += w * load(x.of(begin + t, lane + e * 32), 0);
      }
    }
    for (int e = 0; e < 4; e++)
      if (lane + e * 32 < x.width) to[line * step + lane + e * 32] = T(sums[e] * factor);
  }
}

// Whether the lines of a warp need that. (Asked before the call, which other sums would outlive.)
template <class Sums, class T>
__device__ __forceinline__ bool need_apart(const Sums& sums, const Scores<T>& scores) {
  return (scores.s.masked || scores.s.causal) && __any_sync(0xffffffffu, odd(sums));
}

// The lines of a warp, if they need that.
template <bool OF_KEYS, bool OF_D, class Sums, class T>
__device__ __forceinline__ void set_apart(const Sums& sums, T* to, Index step, int first, int lines,
                                          const Matrices<T>& of, const Rows<T>& x,
                                          const Scores<T>& scores, Wide<T> factor) {
  if (!need_apart(sums, scores)) return;
  __syncwarp();
  lines_apart<OF_KEYS, OF_D>(to, step, first, lines, of, x, scores, factor);
}
