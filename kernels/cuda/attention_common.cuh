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
    const A score = product * scale;
    if (!s.masked) return score;
    const Index i = at + row * s.mask.row + key * s.mask_key;
    if (s.masked == ADDED) return score + load(static_cast<const T*>(mask), i);
    return static_cast<const unsigned char*>(mask)[i] ? score : minus_infinity<A>();
  }
  // Do all of these rows see all of these keys?
  __device__ __forceinline__ bool whole(int row, int rows, int key, int keys) const {
    return !s.masked && row + rows <= s.rows && key + keys <= s.keys &&
           !(s.causal && key + keys - 1 > row);
  }
};
