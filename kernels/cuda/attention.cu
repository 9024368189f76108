// attention.cu - flash attention (Dao 2023): the matrix of scores is never materialised. A block
// takes some rows of one head and loops over the other side in tiles, with an online softmax
// (Milakov and Gimelshein 2018). Backward recomputes the probabilities, in one kernel for the
// gradient of the queries and one for those of keys and values. Halves are in attention_mma.cuh.
#include "attention_mma.cuh"

// Two GEMMs in a row, the result of the first staged in shared memory as operand of the second.
// HEAD is the largest width of an operand.
template <class T, int HEAD, int N> struct Work {
  using A = Wide<T>;
  static constexpr int P = Tile<A>::PACK, DEPTH = Tile<A>::DEPTH, DOWN = THREADS / 32;
  static constexpr int LINES = Spot<DOWN>::LINES * P, COLUMNS = N * Spot<DOWN>::COLUMNS * P;
  static constexpr int E = HEAD / (Spot<DOWN>::COLUMNS * P);
  static constexpr int STAGED = DEPTH * (LINES + COLUMNS > HEAD ? LINES + COLUMNS : HEAD);
  typedef A Square[P][N * P];
  typedef A Sums[P][E * P];
  struct alignas(16) Memory {
    A staged[STAGED], between[COLUMNS * LINES];
  };
  Memory& memory;
  const Spot<DOWN> at;
  __device__ __forceinline__ Work(Memory& memory) : memory(memory) {}
  __device__ __forceinline__ int line(int i) const { return at.line * P + i; }
  static __device__ __forceinline__ int mine() { return threadIdx.x / 32 * 4 * P; }  // the warp's
  static __device__ __forceinline__ int column(const Spot<DOWN>& at, int j) {
    return (j / P * 8 + at.column) * P + j % P;
  }
  __device__ __forceinline__ int column(int j) const { return column(at, j); }

  // square = rows of a, from `line` on, @ rows of b, from `column` on, transposed.
  __device__ __forceinline__ void product(Square& square, const Rows<T>& a, int line,
                                          const Rows<T>& b, int column) {
#pragma unroll
    for (int i = 0; i < P; i++)
#pragma unroll
      for (int j = 0; j < N * P; j++) square[i][j] = 0;
    A* const other = memory.staged + DEPTH * LINES;
    for (int k = 0; k < a.width; k += DEPTH) {
      __syncthreads();                        // what was staged before has been read
      stage<LINES, DEPTH, true>(memory.staged, a, line, k);
      stage<COLUMNS, DEPTH, true>(other, b, column, k);
      __syncthreads();
      const int steps = a.width - k < DEPTH ? a.width - k : DEPTH;
      multiply<1, N, DOWN, true>(square, memory.staged, other, steps);
    }
  }

  // sums += square times rows of b from `row` on. The square goes through shared memory, where
  // each warp reads what it has written. (Since it read the one before,
  // product() has been at a barrier.)
  __device__ __forceinline__ void add_product(Sums& sums, const Square& square, const Rows<T>& b,
                                              int row) {
#pragma unroll
    for (int j = 0; j < N * P; j++) {
      Pack<A> lines;
#pragma unroll
      for (int i = 0; i < P; i++) lines.at[i] = square[i][j];
      const int place = column(j) * LINES + swizzled<A, LINES>(at.line, column(j));
      store_pack(memory.between + place, lines);
    }
    const int count = b.count - row < COLUMNS ? b.count - row : COLUMNS;
    for (int k = 0; k < count; k += DEPTH) {
      __syncthreads();
      stage<DEPTH, HEAD, false>(memory.staged, b, row + k, 0);
      __syncthreads();
      const int steps = count - k < DEPTH ? count - k : DEPTH;
      multiply<1, E, DOWN, false>(sums, memory.between + k * LINES, memory.staged, steps);
    }
  }

  // Line i of the block's sums, times a factor, as a row of a result.
  static __device__ __forceinline__ void write(T* to, const Sums& sums, const Spot<DOWN>& at, int i,
                                               int width, A factor, bool packed) {
#pragma unroll
    for (int e = 0; e < E; e++) {
      const int c = column(at, e * P);
      if (packed && c < width) {
        Pack<T, P> pack;
#pragma unroll
        for (int j = 0; j < P; j++) pack.at[j] = T(sums[i][e * P + j] * factor);
        store_pack(to + c, pack);
      } else {
#pragma unroll
        for (int j = 0; j < P; j++)
          if (c + j < width) to[c + j] = T(sums[i][e * P + j] * factor);
      }
    }
  }
};

template <class T, int HEAD>
__global__ void __launch_bounds__(THREADS, 3)
attention(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
          const void* __restrict__ mask, T* __restrict__ y, Wide<T>* __restrict__ lse, Shape s,
          Wide<T> scale) {
  using A = Wide<T>;
  using W = Work<T, HEAD, 2>;
  __shared__ typename W::Memory memory;
  W work(memory);
  const Task task(s, s.rows, W::LINES, s.causal);
  const Scores<T> scores(mask, task, s, scale);
  const Rows<T> qs = task.rows(q, s.q, s.rows, s.depth, s);
  const Rows<T> ks = task.rows(k, s.k, s.keys, s.depth, s);
  const Rows<T> vs = task.rows(v, s.v, s.keys, s.columns, s);
  typename W::Sums sums = {};
  A top[W::P], total[W::P];                   // of each line: running maximum and sum
#pragma unroll
  for (int i = 0; i < W::P; i++) {
    top[i] = minus_infinity<A>();
    total[i] = 0;
  }
  const int last = s.causal && s.keys - task.first > W::LINES ? task.first + W::LINES : s.keys;
  for (int begin = 0; begin < last; begin += W::COLUMNS) {
    typename W::Square p;
    work.product(p, qs, task.first, ks, begin);
#pragma unroll
    for (int i = 0; i < W::P; i++) {
      A high = minus_infinity<A>();
#pragma unroll
      for (int j = 0; j < 2 * W::P; j++) {
        p[i][j] = scores.of(p[i][j], task.first + work.line(i), begin + work.column(j));
        high = m::max(high, p[i][j]);
      }
      high = m::max(top[i], over_line<Max, 8>(high));
      const A shift = finite(high);
      const A less = top[i] == minus_infinity<A>() ? A(0) : m::exp(finite(top[i]) - shift);
      total[i] *= less;
#pragma unroll
      for (int j = 0; j < 2 * W::P; j++) total[i] += p[i][j] = m::exp(p[i][j] - shift);
#pragma unroll
      for (int e = 0; e < W::E * W::P; e++) sums[i][e] *= less;
      top[i] = high;
    }
    work.add_product(sums, p, vs, begin);
  }
#pragma unroll
  for (int i = 0; i < W::P; i++) {
    const A all = over_line<Sum, 8>(total[i]);
    const int row = task.first + work.line(i);
    if (row >= s.rows) continue;
    const A per = all == A(0) ? A(0) : A(1) / all;  // nothing to attend to: 0
    T* const to = task.of(y, s.y) + row * s.y.row;
    W::write(to, sums, work.at, i, s.columns, per, s.packed);
    if (work.at.column == 0) lse[task.head * s.rows + row] = finite(top[i]) + m::log(all);
  }
  const Matrices<T> of = {qs, ks, vs, vs, lse + task.head * s.rows, nullptr};
  set_apart<false, false>(sums, task.of(y, s.y), s.y.row, task.first + work.mine(), 4 * W::P, of,
                          vs, scores, A(1));
}

// along = the sum of g * y over each row, a warp a row.
template <class T>
__global__ void attention_along(const T* __restrict__ g, const T* __restrict__ y,
                                Wide<T>* __restrict__ along, Index size, Shape s) {
  for (Index r = first_row(); r < size; r += row_stride()) {
    const Index head = r / s.rows, batch = head / s.heads, inner = head % s.heads;
    const Index row = r % s.rows;
    const T* const gs = g + batch * s.g.batch + inner * s.g.head + row * s.g.row;
    const T* const ys = y + batch * s.y.batch + inner * s.y.head + row * s.y.row;
    Wide<T> sum = 0;
    for (int c = threadIdx.x; c < s.columns; c += 32) sum += load(gs, c) * load(ys, c);
    sum = over_row<Sum>(sum);
    if (threadIdx.x == 0) along[r] = sum;
  }
}

// With the probabilities p = exp(score - lse), the gradient of a score is p * (g @ v^T - along).
template <class T, int HEAD>
__global__ void __launch_bounds__(THREADS, 2)
attention_grad_q(const T* __restrict__ g, const T* __restrict__ q, const T* __restrict__ k,
                 const T* __restrict__ v, const void* __restrict__ mask,
                 const Wide<T>* __restrict__ lse, const Wide<T>* __restrict__ along,
                 T* __restrict__ gq, Shape s, Wide<T> scale) {
  using A = Wide<T>;
  using W = Work<T, HEAD, 2>;
  __shared__ typename W::Memory memory;
  W work(memory);
  const Task task(s, s.rows, W::LINES, s.causal);
  const Scores<T> scores(mask, task, s, scale);
  const Rows<T> gs = task.rows(g, s.g, s.rows, s.columns, s);
  const Rows<T> qs = task.rows(q, s.q, s.rows, s.depth, s);
  const Rows<T> ks = task.rows(k, s.k, s.keys, s.depth, s);
  const Rows<T> vs = task.rows(v, s.v, s.keys, s.columns, s);
  typename W::Sums sums = {};
  A shift[W::P], less[W::P];
#pragma unroll
  for (int i = 0; i < W::P; i++) {
    const int row = task.first + work.line(i);
    const Index r = task.head * s.rows + row;
    shift[i] = row < s.rows ? lse[r] : A(0);
    if (shift[i] == minus_infinity<A>()) shift[i] = 0;
    less[i] = row < s.rows ? along[r] : A(0);
  }
  const int last = s.causal && s.keys - task.first > W::LINES ? task.first + W::LINES : s.keys;
  for (int begin = 0; begin < last; begin += W::COLUMNS) {
    typename W::Square p, d;
    work.product(p, qs, task.first, ks, begin);
    work.product(d, gs, task.first, vs, begin);
#pragma unroll
    for (int i = 0; i < W::P; i++)
#pragma unroll
      for (int j = 0; j < 2 * W::P; j++) {
        const A score =
            scores.of(p[i][j], task.first + work.line(i), begin + work.column(j));
        d[i][j] = m::exp(score - shift[i]) * (d[i][j] - less[i]);
      }
    work.add_product(sums, d, ks, begin);
  }
#pragma unroll
  for (int i = 0; i < W::P; i++) {
    const int row = task.first + work.line(i);
    T* const to = task.of(gq, s.gq) + row * s.gq.row;
    if (row < s.rows) W::write(to, sums, work.at, i, s.depth, scale, s.packed);
  }
  const Index row = task.head * s.rows;
  const Matrices<T> of = {qs, ks, vs, gs, lse + row, along + row};
  set_apart<false, true>(sums, task.of(gq, s.gq), s.gq.row, task.first + work.mine(), 4 * W::P, of,
                         ks, scores, scale);
}

// Here the block's lines are keys, and its columns the queries that it loops over.
template <class T, int HEAD>
__global__ void __launch_bounds__(THREADS, 2)
attention_grad_kv(const T* __restrict__ g, const T* __restrict__ q, const T* __restrict__ k,
                  const T* __restrict__ v, const void* __restrict__ mask,
                  const Wide<T>* __restrict__ lse, const Wide<T>* __restrict__ along,
                  T* __restrict__ gk, T* __restrict__ gv, Shape s, Wide<T> scale, int needs_k,
                  int needs_v) {
  using A = Wide<T>;
  constexpr int N = HEAD > 64 ? 1 : 2;        // with two sums of 128 columns registers are few
  using W = Work<T, HEAD, N>;
  __shared__ typename W::Memory memory;
  W work(memory);
  const Task task(s, s.keys, W::LINES, false);
  const Scores<T> scores(mask, task, s, scale);
  const Rows<T> gs = task.rows(g, s.g, s.rows, s.columns, s);
  const Rows<T> qs = task.rows(q, s.q, s.rows, s.depth, s);
  const Rows<T> ks = task.rows(k, s.k, s.keys, s.depth, s);
  const Rows<T> vs = task.rows(v, s.v, s.keys, s.columns, s);
  typename W::Sums of_k = {}, of_v = {};
  const int start = s.causal ? task.first / W::COLUMNS * W::COLUMNS : 0;
  for (int begin = start; begin < s.rows; begin += W::COLUMNS) {
    const Index row = task.head * s.rows + begin;
    typename W::Square p, d;
    work.product(p, ks, task.first, qs, begin);
#pragma unroll
    for (int j = 0; j < N * W::P; j++) {
      const int c = work.column(j);
      A shift = begin + c < s.rows ? lse[row + c] : A(0);
      if (shift == minus_infinity<A>()) shift = 0;
#pragma unroll
      for (int i = 0; i < W::P; i++)
        p[i][j] = m::exp(scores.of(p[i][j], begin + c, task.first + work.line(i)) - shift);
    }
    if (needs_v) work.add_product(of_v, p, gs, begin);
    if (!needs_k) continue;
    work.product(d, vs, task.first, gs, begin);
#pragma unroll
    for (int j = 0; j < N * W::P; j++) {
      const int c = work.column(j);
      const A less = begin + c < s.rows ? along[row + c] : A(0);
#pragma unroll
      for (int i = 0; i < W::P; i++) d[i][j] = p[i][j] * (d[i][j] - less);
    }
    work.add_product(of_k, d, qs, begin);
  }
#pragma unroll
  for (int i = 0; i < W::P; i++) {
    const int key = task.first + work.line(i);
    if (key >= s.keys) continue;
    T* const to_k = task.of(gk, s.gk) + key * s.gk.row;
    T* const to_v = task.of(gv, s.gv) + key * s.gv.row;
    if (needs_k) W::write(to_k, of_k, work.at, i, s.depth, scale, s.packed);
    if (needs_v) W::write(to_v, of_v, work.at, i, s.columns, A(1), s.packed);
  }
  const Index row = task.head * s.rows;
  const Matrices<T> of = {qs, ks, vs, gs, lse + row, along + row};
  const int first = task.first + work.mine();
  if (needs_k)
    set_apart<true, true>(of_k, task.of(gk, s.gk), s.gk.row, first, 4 * W::P, of, qs, scores, scale);
  if (needs_v)
    set_apart<true, false>(of_v, task.of(gv, s.gv), s.gv.row, first, 4 * W::P, of, gs, scores, A(1));
}
