// alignment.cu - CTC and RNN-T in log space: a block takes a sequence, its threads the states of a
// step (CTC) or the nodes of a diagonal (RNN-T). Nothing is added by atomics. A length or label that
// leads out of the arrays makes the loss of its sequence NaN, and its gradient.
#include "softmax.cuh"

// Logarithms of what is out of reach, and the loss from which on there is no alignment: infinities
// would make NaNs.
template <class A> __device__ __forceinline__ A never() { return A(-1e30); }
template <class A> __device__ __forceinline__ A infeasible() { return A(1e29); }
template <class A> __device__ __forceinline__ A infinity() {
  return A(__int_as_float(0x7f800000));
}
template <class A> __device__ __forceinline__ A nan() { return A(__int_as_float(0x7fffffff)); }

template <class A> __device__ __forceinline__ A sum2(A a, A b) {
  return m::max(a, b) + m::log1p(m::exp(-m::abs(a - b)));
}
template <class A> __device__ __forceinline__ A sum3(A a, A b, A c) {
  const A top = m::max(a, m::max(b, c));
  return top + m::log(m::exp(a - top) + m::exp(b - top) + m::exp(c - top));
}

// NEVER in the place of -inf; NaN stays.
template <class A> __device__ __forceinline__ A bounded(A a) { return a < never<A>() ? never<A>() : a; }

// Lengths and labels of sequence i. The same in all threads of a block.
struct Sequence {
  const Index* labels;
  Index steps, size;
  bool valid;
  __device__ Sequence(const Index* targets, const Index* lengths, const Index* sizes, Index i,
                      Index steps_of_all, Index most, Index classes, Index blank)
      : labels(targets + i * most), steps(lengths[i]), size(sizes[i]) {
    valid = steps > 0 && steps <= steps_of_all && size >= 0 && size <= most;
    for (Index j = 0; valid && j < size; j++)
      valid = labels[j] >= 0 && labels[j] < classes && labels[j] != blank;
  }
};

// --------------------------------------------------------------------------------------------- CTC

template <class T> struct Ctc {
  using A = Wide<T>;
  const T* x;                                 // log-probabilities (steps, n, classes), from row i on
  Index row, states, blank;
  const Index* labels;
  __device__ __forceinline__ Index label(Index j) const { return j % 2 ? labels[j / 2] : blank; }
  __device__ __forceinline__ A emission(Index k, Index j) const {
    return bounded(load(x, k * row + label(j)));
  }
  // Whether state j is reached from the one two below.
  __device__ __forceinline__ bool skips(Index j) const {
    return j % 2 && j > 1 && labels[j / 2] != labels[j / 2 - 1];
  }
  // The forward variables of step k from those before, which are other memory.
  __device__ void forward(const A* before, A* a, Index k) const {
    for (Index j = threadIdx.x; j < states; j += blockDim.x) {
      if (k == 0) {
        a[j] = j < 2 ? emission(0, j) : never<A>();
        continue;
      }
      const A one = j ? before[j - 1] : never<A>();
      const A two = skips(j) ? before[j - 2] : never<A>();
      a[j] = sum3(before[j], one, two) + emission(k, j);
    }
    __syncthreads();
  }
  // And the backward variables, without the emission of step k; those of the last step for `last`.
  __device__ void backward(const A* after, A* b, Index k, bool last) const {
    for (Index j = threadIdx.x; j < states; j += blockDim.x) {
      if (last) {
        b[j] = j + 2 >= states ? A(0) : never<A>();
        continue;
      }
      const A here = after[j] + emission(k + 1, j);
      const A one = j + 1 < states ? after[j + 1] + emission(k + 1, j + 1) : never<A>();
      const bool two = j + 2 < states && skips(j + 2);
      b[j] = sum3(here, one, two ? after[j + 2] + emission(k + 1, j + 2) : never<A>());
    }
    __syncthreads();
  }
  __device__ __forceinline__ A loss(const A* a) const {
    return -(states > 1 ? sum2(a[states - 1], a[states - 2]) : a[0]);
  }
};

// `work` is (n, 2, 2 most + 1).
template <class T>
__global__ void ctc(const T* __restrict__ x, const Index* __restrict__ targets,
                    const Index* __restrict__ lengths, const Index* __restrict__ sizes,
                    Wide<T>* work, T* __restrict__ losses, Index steps, Index n, Index classes,
                    Index most, Index blank) {
  using A = Wide<T>;
  const Index width = 2 * most + 1;
  for (Index i = blockIdx.x; i < n; i += gridDim.x) {
    const Sequence s(targets, lengths, sizes, i, steps, most, classes, blank);
    if (!s.valid) {
      if (threadIdx.x == 0) store(losses, i, nan<A>());
      continue;
    }
    const Ctc<T> of = {x + i * classes, n * classes, 2 * s.size + 1, blank, s.labels};
    A* a = work + i * 2 * width;
    for (Index k = 0; k < s.steps; k++)
      of.forward(a + (k + 1) % 2 * width, a + k % 2 * width, k);
    if (threadIdx.x) continue;
    const A loss = of.loss(a + (s.steps - 1) % 2 * width);
    store(losses, i, loss >= infeasible<A>() ? infinity<A>() : loss);
  }
}

// `out` is (steps, n, classes), `alphas` (n, steps, width), `work` (n, 2, width), `after`
// (n, width): the next state with the same label, or -1, and -2 where an earlier one has it.
template <class T>
__global__ void ctc_grad(const T* __restrict__ x, const Index* __restrict__ targets,
                         const Index* __restrict__ lengths, const Index* __restrict__ sizes,
                         const T* __restrict__ g, Wide<T>* alphas, Wide<T>* work, Index* links,
                         T* __restrict__ out, Index steps, Index n, Index classes, Index most,
                         Index blank) {
  using A = Wide<T>;
  const Index width = 2 * most + 1;
  for (Index i = blockIdx.x; i < n; i += gridDim.x) {
    const Sequence s(targets, lengths, sizes, i, steps, most, classes, blank);
    if (!s.valid) {
      for (Index k = threadIdx.x; k < steps * classes; k += blockDim.x)
        store(out, (k / classes * n + i) * classes + k % classes, nan<A>());
      continue;
    }
    const Ctc<T> of = {x + i * classes, n * classes, 2 * s.size + 1, blank, s.labels};
    A *a = alphas + i * steps * width, *b = work + i * 2 * width;
    Index *next = links + i * 2 * width, *head = next + width;
    for (Index j = threadIdx.x; j < of.states; j += blockDim.x) {
      next[j] = -1;
      head[j] = 1;
      for (Index q = j + 1; q < of.states && next[j] < 0; q++)
        if (of.label(q) == of.label(j)) next[j] = q;
      for (Index q = 0; q < j && head[j]; q++) head[j] = of.label(q) != of.label(j);
    }
    for (Index k = 0; k < s.steps; k++) of.forward(a + (k - (k > 0)) * width, a + k * width, k);
    const A loss = of.loss(a + (s.steps - 1) * width);
    const bool there = !(loss >= infeasible<A>());
    const A none = load(g, i) * A(0);          // NaN of NaN
    for (Index at = threadIdx.x; at < steps * classes; at += blockDim.x) {
      const Index k = at / classes;
      store(out, (k * n + i) * classes + at % classes, there && k < s.steps ? none * loss : none);
    }
    __syncthreads();
    if (!there) continue;
    for (Index k = s.steps - 1; k >= 0; k--) {
      A *now = b + k % 2 * width, *p = a + k * width;
      of.backward(b + (k + 1) % 2 * width, now, k, k == s.steps - 1);
      for (Index j = threadIdx.x; j < of.states; j += blockDim.x)
        p[j] = m::exp(p[j] + now[j] + loss);
      __syncthreads();
      for (Index j = threadIdx.x; j < of.states; j += blockDim.x) {
        if (!head[j]) continue;
        A sum = 0;
        for (Index q = j; q >= 0; q = next[q]) sum += p[q];
        store(out, (k * n + i) * classes + of.label(j), -load(g, i) * sum);
      }
    }
  }
}

// ------------------------------------------------------------------------------------------- RNN-T

// The logarithms of each node's sum of exponentials, and of its arcs: a row a node.
template <class T, int V>
__global__ void transducer_arcs(const T* __restrict__ x, const Index* __restrict__ targets,
                                const Index* __restrict__ sizes, Wide<T>* __restrict__ norms,
                                Wide<T>* __restrict__ blanks, Wide<T>* __restrict__ labels,
                                Index rows, Index nodes, Index classes, Index most, Index blank) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const T* row = x + r * classes;
    const auto of = exponentials<V>(row, classes);
    if (threadIdx.x) continue;
    const A norm = m::log(of.sum);              // of what is shifted: together they would round
    const Index i = r / nodes, j = r % (most + 1);
    const Index label = j < sizes[i] && j < most ? targets[i * most + j] : -1;
    norms[2 * r] = of.shift;
    norms[2 * r + 1] = norm;
    blanks[r] = bounded(load(row, blank) - of.shift - norm);
    const bool within = label >= 0 && label < classes;
    labels[r] = within ? bounded(load(row, label) - of.shift - norm) : never<A>();
  }
}

// The forward variables of a lattice (steps, most + 1), a diagonal after the other.
template <class A>
__device__ A through(A* a, const A* blanks, const A* labels, Index steps, Index size, Index width) {
  for (Index d = 0; d < steps + size; d++) {
    for (Index j = threadIdx.x; j <= size; j += blockDim.x) {
      const Index i = d - j, at = i * width + j;
      if (i < 0 || i >= steps) continue;
      const A up = i ? a[at - width] + blanks[at - width] : never<A>();
      const A left = j ? a[at - 1] + labels[at - 1] : never<A>();
      a[at] = d ? sum2(up, left) : A(0);
    }
    __syncthreads();
  }
  const Index end = (steps - 1) * width + size;
  return -(a[end] + blanks[end]);
}

template <class T>
__global__ void transducer(const Wide<T>* __restrict__ blanks, const Wide<T>* __restrict__ labels,
                           const Index* __restrict__ targets, const Index* __restrict__ lengths,
                           const Index* __restrict__ sizes, Wide<T>* alphas,
                           T* __restrict__ losses, Index n, Index steps, Index most, Index classes,
                           Index blank) {
  using A = Wide<T>;
  const Index width = most + 1, nodes = steps * width;
  for (Index i = blockIdx.x; i < n; i += gridDim.x) {
    const Sequence s(targets, lengths, sizes, i, steps, most, classes, blank);
    A loss = nan<A>();
    if (s.valid) {
      loss = through(alphas + i * nodes, blanks + i * nodes, labels + i * nodes, s.steps, s.size,
                     width);
      loss = loss >= infeasible<A>() ? infinity<A>() : loss;
    }
    if (threadIdx.x == 0) store(losses, i, loss);
  }
}

// Puts the probabilities of the arcs, times g, in their places: `betas` is memory as `alphas`.
template <class T>
__global__ void transducer_grad(Wide<T>* blanks, Wide<T>* labels,
                                const Index* __restrict__ targets,
                                const Index* __restrict__ lengths, const Index* __restrict__ sizes,
                                const T* __restrict__ g, Wide<T>* alphas, Wide<T>* betas, Index n,
                                Index steps, Index most, Index classes, Index blank) {
  using A = Wide<T>;
  const Index width = most + 1, nodes = steps * width;
  for (Index q = blockIdx.x; q < n; q += gridDim.x) {
    const Sequence s(targets, lengths, sizes, q, steps, most, classes, blank);
    A *arcs = blanks + q * nodes, *marks = labels + q * nodes;
    A *a = alphas + q * nodes, *b = betas + q * nodes;
    A loss = nan<A>();
    if (s.valid) loss = through(a, arcs, marks, s.steps, s.size, width);
    const bool there = !(loss >= infeasible<A>());
    const A scale = there ? load(g, q) : A(0);
    loss = there ? loss : A(0);
    const A none = scale * A(0) * loss;         // NaN of NaN
    for (Index at = threadIdx.x; at < nodes; at += blockDim.x)
      if (!s.valid || at / width >= s.steps || at % width > s.size) arcs[at] = marks[at] = none;
    if (!s.valid) continue;
    __syncthreads();                          // all have read the last arc
    for (Index d = s.steps + s.size - 1; d >= 0; d--) {
      for (Index j = threadIdx.x; j <= s.size; j += blockDim.x) {
        const Index i = d - j, at = i * width + j;
        if (i < 0 || i >= s.steps) continue;
        const bool lowest = i == s.steps - 1;
        const A down = lowest ? (j == s.size ? A(0) : never<A>()) : b[at + width];
        const A up = arcs[at] + down, left = marks[at] + (j < s.size ? b[at + 1] : never<A>());
        b[at] = sum2(up, left);
        arcs[at] = scale * m::exp(a[at] + up + loss);
        marks[at] = scale * m::exp(a[at] + left + loss);
      }
      __syncthreads();
    }
  }
}

// The gradient of each node: softmax times the probability of being there, minus its arcs'.
template <class T, int V>
__global__ void transducer_spread(const T* __restrict__ x, const Wide<T>* __restrict__ norms,
                                  const Index* __restrict__ targets,
                                  const Wide<T>* __restrict__ blanks,
                                  const Wide<T>* __restrict__ labels, T* __restrict__ out,
                                  Index rows, Index nodes, Index classes, Index most, Index blank) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const A arc = blanks[r], mark = labels[r], here = arc + mark;
    const A shift = norms[2 * r], norm = norms[2 * r + 1];
    const Index i = r / nodes, j = r % (most + 1);
    const Index label = j < most && mark != A(0) ? targets[i * most + j] : -1;
    for (Index c = threadIdx.x * V; c < classes; c += blockDim.x * V) {
      auto pack = load_pack<V>(x + r * classes + c);
      for (int e = 0; e < V; e++) {
        A value = here == A(0) ? A(0) : here * m::exp(A(pack.at[e]) - shift - norm);
        if (c + e == blank) value -= arc;
        if (c + e == label) value -= mark;
        pack.at[e] = T(value);
      }
      store_pack(out + r * classes + c, pack);
    }
  }
}
