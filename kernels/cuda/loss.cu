// loss.cu - softmax cross-entropy of logits and class numbers (L: int or long long).
#include "softmax.cuh"

// A label outside the classes gives NaN: to raise an error, the host would have to wait.
template <class T, class L>
__global__ void cross_entropy(const T* __restrict__ logits, const L* __restrict__ labels,
                              T* __restrict__ losses, Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = logits + r * n;
    const Wide<T> top = shift_of(row, n), sum = sum_of_exp(row, n, top);
    if (threadIdx.x) continue;
    const Index label = labels[r];
    Wide<T> loss = __int_as_float(0x7fffffff);
    if (label >= 0 && label < n) loss = m::log(sum) - (load(row, label) - top);
    store(losses, r, loss);
  }
}

// g is read with a step of 0 where one number stands for the gradients of all examples.
template <class T, class L>
__global__ void cross_entropy_grad(const T* __restrict__ g, Index g_step,
                                   const T* __restrict__ logits, const L* __restrict__ labels,
                                   T* __restrict__ out, Index rows, Index n) {
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = logits + r * n;
    const Wide<T> top = shift_of(row, n), scale = Wide<T>(1) / sum_of_exp(row, n, top);
    const Wide<T> grad = load(g, r * g_step);
    const Index label = labels[r];
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      const Wide<T> p = m::exp(load(row, j) - top) * scale;
      store(out, r * n + j, grad * (j == label ? p - Wide<T>(1) : p));
    }
  }
}
