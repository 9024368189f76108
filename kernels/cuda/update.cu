// update.cu - optimizer steps. h = [learning rate, step] is read here, so that a launch recorded in
// a CUDA graph sees the numbers of today.
#include "common.cuh"

enum Momentum { PLAIN, CLASSICAL, NESTEROV };

template <class T>
__global__ void sgd(T* p, const T* __restrict__ g, T* buffer, const double* __restrict__ h, Index n,
                    Wide<T> momentum, Wide<T> weight_decay, int kind) {
  using A = Wide<T>;
  const A lr = A(h[0]);
  for (Index i = first(); i < n; i += stride()) {
    const A x = load(p, i);
    A d = load(g, i) + weight_decay * x;
    if (kind != PLAIN) {
      const A v = momentum * load(buffer, i) + d;
      store(buffer, i, v);
      d = kind == NESTEROV ? d + momentum * v : v;
    }
    store(p, i, x - lr * d);
  }
}

// The scalars of a step, formed in double by one thread of each block.
template <class T>
__global__ void adam(T* p, const T* __restrict__ g, T* mean, T* square,
                     const double* __restrict__ h, Index n, double beta1, double beta2, double eps, double weight_decay,
                     int decoupled) {
  using A = Wide<T>;
  __shared__ A rate, root, keep;
  if (threadIdx.x == 0) {
    rate = A(h[0] / (1.0 - pow(beta1, h[1])));
    root = A(sqrt(1.0 / (1.0 - pow(beta2, h[1]))));
    keep = decoupled ? A(1.0 - h[0] * weight_decay) : A(1);
  }
  __syncthreads();
  const A b1 = A(beta1), b2 = A(beta2), rest1 = A(1.0 - beta1), rest2 = A(1.0 - beta2);
  const A tiny = A(eps), decay = decoupled ? A(0) : A(weight_decay);
  for (Index i = first(); i < n; i += stride()) {
    const A x = load(p, i), d = load(g, i) + decay * x;
    const A u = b1 * load(mean, i) + rest1 * d, v = b2 * load(square, i) + rest2 * d * d;
    store(mean, i, u);
    store(square, i, v);
    store(p, i, keep * x - rate * u / (m::sqrt(v) * root + tiny));
  }
}

__global__ void advance_step(double* h) { h[1] += 1.0; }
