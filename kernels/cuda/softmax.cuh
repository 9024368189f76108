// softmax.cuh - online softmax (Milakov and Gimelshein 2018): the maximum of a row and its sum of
// exponentials in one pass over it.
#include "vectors.cuh"

// The maximum of a row, or 0 where that is -inf, as what a thread met may be, and the sum of
// exp(x - shift): NaN where one is +inf. A thread rescales its sum whenever its own maximum grows; at the end all are
// rescaled to the row's. NaN never is the maximum, but stays in the sum.
template <class A> struct Exponentials {
  A shift, sum;
};

template <class A> __device__ __forceinline__ A shift_for(A top) {
  return isfinite(top) || top > A(0) ? top : A(0);
}

template <int V, class T> __device__ Exponentials<Wide<T>> exponentials(const T* row, Index n) {
  using A = Wide<T>;
  A top = -A(__int_as_float(0x7f800000)), sum = 0;
  for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
    const auto pack = load_pack<V>(row + j);
    A higher = top;
    for (int e = 0; e < V; e++) higher = m::max(higher, A(pack.at[e]));
    if (higher > top) {
      if (isfinite(top)) sum *= m::exp(top - shift_for(higher));
      top = higher;
    }
    const A shift = shift_for(top);
    for (int e = 0; e < V; e++) sum += m::exp(A(pack.at[e]) - shift);
  }
  const A shift = shift_for(over_row<Max>(top));
  // A thread that met nothing but -inf has a sum of 0, and a shift that says nothing.
  return {shift, over_row<Sum>(isfinite(top) ? sum * m::exp(top - shift) : sum)};
}
