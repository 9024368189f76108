// recurrent.cu - the fused gates of one step of a recurrent layer, between the products with its
// weights: a thread for each element of the state. `k` is the step; sequences are (n, steps, ...),
// states (n, hidden).
#include "scalars.cuh"

// Where number i of a state is: in row r of the batch, column j; and in sequences at step k.
struct Place {
  Index r, j, hidden, row;
  __device__ __forceinline__ Place(Index i, Index hidden, Index steps, Index k)
      : r(i / hidden), j(i - r * hidden), hidden(hidden), row(r * steps + k) {}
  __device__ __forceinline__ Index at() const { return row * hidden + j; }
  // gate q of `gates`, in a sequence and in the gates of this step alone
  __device__ __forceinline__ Index gate(int q, int gates) const {
    return (row * gates + q) * hidden + j;
  }
  __device__ __forceinline__ Index now(int q, int gates) const {
    return (r * gates + q) * hidden + j;
  }
};

// -------------------------------------------------------------------------------------------- LSTM

// `gates` holds x @ w, and then the activated gates; `zh` is h @ u, of use where there is a state.
template <class T>
__global__ void lstm_step(T* gates, const T* __restrict__ zh, const T* __restrict__ b, Wide<T>* c,
                          T* __restrict__ h, T* __restrict__ y, T* __restrict__ cells, Index size,
                          Index hidden, Index steps, Index k, int has_state, int has_bias) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Place p(i, hidden, steps, k);
    A z[4];
    for (int q = 0; q < 4; q++) {
      z[q] = load(gates, p.gate(q, 4));
      if (has_state) z[q] += load(zh, p.now(q, 4));
      if (has_bias) z[q] += load(b, q * hidden + p.j);
      z[q] = q == 2 ? m::tanh(z[q]) : f::logistic(z[q]);
      store(gates, p.gate(q, 4), z[q]);
    }
    const A cell = z[1] * c[i] + z[0] * z[2], out = z[3] * m::tanh(cell);
    c[i] = cell;
    store(cells, p.at(), cell);
    store(y, p.at(), out);
    store(h, i, out);
  }
}

// From the gradients of h (`gh`, and `gy` if it was used itself) and of c those before the
// activations, in a sequence `gz` and alone (`now`), and of c before the step.
template <class T>
__global__ void lstm_step_grad(const T* __restrict__ gates, const T* __restrict__ cells,
                               const T* __restrict__ c0, const T* __restrict__ gy,
                               const T* __restrict__ gh, Wide<T>* gc, T* __restrict__ gz,
                               T* __restrict__ now, Index size, Index hidden, Index steps, Index k,
                               int has_c0, int has_gy) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Place p(i, hidden, steps, k);
    A a[4], d[4];
    for (int q = 0; q < 4; q++) a[q] = load(gates, p.gate(q, 4));
    const A before = k ? load(cells, p.at() - hidden) : has_c0 ? load(c0, i) : A(0);
    const A g = load(gh, i) + (has_gy ? load(gy, p.at()) : A(0));
    const A t = m::tanh(load(cells, p.at())), grad = gc[i] + g * a[3] * (A(1) - t * t);
    d[0] = grad * a[2] * a[0] * (A(1) - a[0]);
    d[1] = grad * before * a[1] * (A(1) - a[1]);
    d[2] = grad * a[0] * (A(1) - a[2] * a[2]);
    d[3] = g * t * a[3] * (A(1) - a[3]);
    gc[i] = grad * a[1];
    for (int q = 0; q < 4; q++) {
      store(gz, p.gate(q, 4), d[q]);
      store(now, p.now(q, 4), d[q]);
    }
  }
}

// --------------------------------------------------------------------------------------------- GRU

// `zh` is h @ u; `h` the state before the step, and then after.
template <class T>
__global__ void gru_step(T* gates, const T* __restrict__ zh, const T* __restrict__ b,
                         const T* __restrict__ bu, T* h, T* __restrict__ y,
                         T* __restrict__ products, Index size, Index hidden, Index steps, Index k,
                         int has_state, int has_bias, int has_bu) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Place p(i, hidden, steps, k);
    A zx[3], z[3];
    for (int q = 0; q < 3; q++) {
      zx[q] = load(gates, p.gate(q, 3)) + (has_bias ? load(b, q * hidden + p.j) : A(0));
      z[q] = has_state ? load(zh, p.now(q, 3)) : A(0);
      if (has_bu) z[q] += load(bu, q * hidden + p.j);
    }
    const A r = f::logistic(zx[0] + z[0]), keep = f::logistic(zx[1] + z[1]);
    const A fresh = m::tanh(zx[2] + r * z[2]), out = fresh + keep * (load(h, i) - fresh);
    store(gates, p.gate(0, 3), r);
    store(gates, p.gate(1, 3), keep);
    store(gates, p.gate(2, 3), fresh);
    store(products, p.at(), z[2]);
    store(y, p.at(), out);
    store(h, i, out);
  }
}

// `past` is what of the gradient of h reaches the state before past the product with u. `gz` is the
// gradient of x @ w, `gr` and `now` that of h @ u.
template <class T>
__global__ void gru_step_grad(const T* __restrict__ gates, const T* __restrict__ products,
                              const T* __restrict__ y, const T* __restrict__ h0,
                              const T* __restrict__ gy, const T* __restrict__ gh, Wide<T>* past,
                              T* __restrict__ gz, T* __restrict__ gr, T* __restrict__ now,
                              Index size, Index hidden, Index steps, Index k, int has_h0,
                              int has_gy) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Place p(i, hidden, steps, k);
    const A r = load(gates, p.gate(0, 3)), keep = load(gates, p.gate(1, 3));
    const A fresh = load(gates, p.gate(2, 3));
    const A before = k ? load(y, p.at() - hidden) : has_h0 ? load(h0, i) : A(0);
    const A g = load(gh, i) + past[i] + (has_gy ? load(gy, p.at()) : A(0));
    const A d_fresh = g * (A(1) - keep) * (A(1) - fresh * fresh);
    const A d_keep = g * (before - fresh) * keep * (A(1) - keep);
    const A d_r = d_fresh * load(products, p.at()) * r * (A(1) - r);
    past[i] = g * keep;
    const A d[3] = {d_r, d_keep, d_fresh};
    for (int q = 0; q < 3; q++) {
      store(gz, p.gate(q, 3), d[q]);
      const A of_u = q == 2 ? d_fresh * r : d[q];
      store(gr, p.gate(q, 3), of_u);
      store(now, p.now(q, 3), of_u);
    }
  }
}

// ------------------------------------------------------------------------------- simple recurrence

// `y` holds x @ w, and then the states.
template <class F, class T>
__global__ void rnn_step(T* y, const T* __restrict__ zh, const T* __restrict__ b,
                         T* __restrict__ h, Index size, Index hidden, Index steps, Index k,
                         int has_state, int has_bias) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Place p(i, hidden, steps, k);
    A z = load(y, p.at());
    if (has_state) z += load(zh, i);
    if (has_bias) z += load(b, p.j);
    z = F::of(z, A(0));
    store(y, p.at(), z);
    store(h, i, z);
  }
}

template <class F, class T>
__global__ void rnn_step_grad(const T* __restrict__ y, const T* __restrict__ gy,
                              const T* __restrict__ gh, T* __restrict__ gz, T* __restrict__ now,
                              Index size, Index hidden, Index steps, Index k, int has_gy) {
  using A = Wide<T>;
  for (Index i = first(); i < size; i += stride()) {
    const Place p(i, hidden, steps, k);
    const A g = load(gh, i) + (has_gy ? load(gy, p.at()) : A(0));
    const A d = F::of(g, load(y, p.at()), A(0));
    store(gz, p.at(), d);
    store(now, i, d);
  }
}
