// loss.cu - softmax cross-entropy of logits and class numbers (L: int or long long), V logits at a
// time.
#include "softmax.cuh"

// A label outside the classes gives NaN: to raise an error, the host would have to wait.
template <class T, class L, int V>
__global__ void cross_entropy(const T* __restrict__ logits, const L* __restrict__ labels,
                              T* __restrict__ losses, Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = logits + r * n;
    const auto of = exponentials<V>(row, n);
    if (threadIdx.x) continue;
    const Index label = labels[r];
    Wide<T> loss = __int_as_float(0x7fffffff);
    if (label >= 0 && label < n) loss = m::log(of.sum) - (load(row, label) - of.shift);
    store(losses, r, loss);
  }
}

// g is broadcast by a stride of 0 where all examples share one cotangent.
template <class T, class L, int V>
__global__ void cross_entropy_grad(const T* __restrict__ g, Index g_step,
                                   const T* __restrict__ logits, const L* __restrict__ labels,
                                   T* __restrict__ out, Index rows, Index n) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = logits + r * n;
    const auto of = exponentials<V>(row, n);
    const A scale = A(1) / of.sum, grad = load(g, r * g_step);
    const Index label = labels[r];
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) {
        const A p = m::exp(A(pack.at[e]) - of.shift) * scale;
        pack.at[e] = T(grad * (j + e == label ? p - A(1) : p));
      }
      store_pack(out + r * n + j, pack);
    }
  }
}
