// attention_mma.cuh - attention of halves on tensor cores (FlashAttention-2, Dao 2023): as in
// attention.cu, but a warp owns rows, whose scores and accumulators stay in its registers, and the
// tiles of the other side are prefetched to shared memory by asynchronous copies.
#include "attention_common.cuh"
#include "mma.cuh"

// The thread's place in a block of 16 M lines for each warp: the first of its lines, of which the
// others are 8 apart, and the first of its columns.
template <int M> struct Lane {
  static constexpr int LINES = THREADS / 32 * 16 * M;
  const int warp = threadIdx.x / 32, line = warp * 16 * M + threadIdx.x % 32 / 4;
  const int column = threadIdx.x % 4 * 2;
};

// The warp's lines of x as operands, by way of a tile that is free for it, and is so afterwards.
template <class T, int M, int WIDTH, int ROWS>
__device__ __forceinline__ void take(unsigned (&to)[WIDTH / 16][M][4], const Rows<T>& x, int first,
                                     HalfTile<T, ROWS, WIDTH>& tile) {
  static_assert(ROWS == Lane<M>::LINES, "the block's lines");
  fetch(tile, x, first);
  commit_copies();
  wait_for_copies<0>();
  __syncthreads();
#pragma unroll
  for (int k = 0; k < WIDTH / 16; k++)
#pragma unroll
    for (int m = 0; m < M; m++)
      read<false>(to[k][m], tile, Lane<M>().warp * 16 * M + m * 16, k * 16);
  __syncthreads();
}

// Products of queries and keys become scores. Lines are queries, or if TRANSPOSED keys.
template <bool TRANSPOSED, class T, int M, int N>
__device__ __forceinline__ void score(float (&p)[M][N][4], const Scores<T>& scores, int first,
                                      int begin) {
  const Lane<M> at;
  const bool whole = TRANSPOSED ? scores.whole(begin, 8 * N, first, at.LINES)
                            : scores.whole(first, at.LINES, begin, 8 * N);
  if (whole) {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) p[m][n][i] = m::multiply(p[m][n][i], scores.scale);
  } else {
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int line = first + at.line + m * 16 + i / 2 * 8;
          const int column = begin + n * 8 + at.column + i % 2;
          p[m][n][i] = TRANSPOSED ? scores.of(p[m][n][i], column, line)
                              : scores.of(p[m][n][i], line, column);
        }
    __syncwarp();                             // a mask may have parted it, and mma takes all lanes
  }
}

// Half h of a thread's sums, times a factor, as a row of a result.
template <class T, int N>
__device__ __forceinline__ void write(T* to, const float (&sum)[N][4], int h, int column,
                                      int width, float factor, bool packed) {
#pragma unroll
  for (int n = 0; n < N; n++) {
    const int c = n * 8 + column;
    const float x = sum[n][2 * h] * factor, y = sum[n][2 * h + 1] * factor;
    if (packed && c < width) {
      *reinterpret_cast<unsigned*>(to + c) = pair<T>(x, y);
    } else {
      if (c < width) to[c] = T(x);
      if (c + 1 < width) to[c + 1] = T(y);
    }
  }
}

template <class T, int HEAD>
__global__ void __launch_bounds__(THREADS, 2)
attention_mma(const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,
              const void* __restrict__ mask, T* __restrict__ y, float* __restrict__ lse, Shape s,
              float scale) {
  constexpr int M = HEAD > 64 ? 1 : 2, KEYS = 64, N = KEYS / 8;
  const Lane<M> at;
  __shared__ union {
    HalfTile<T, Lane<M>::LINES, HEAD> of_q;
    HalfTile<T, KEYS, HEAD> of[2];
  } tile;
  const Task task(s, s.rows, at.LINES, s.causal);
  const Scores<T> scores(mask, task, s, scale);
  const Rows<T> ks = task.rows(k, s.k, s.keys, s.depth, s);
  const Rows<T> vs = task.rows(v, s.v, s.keys, s.columns, s);
  unsigned queries[HEAD / 16][M][4];
  take(queries, task.rows(q, s.q, s.rows, s.depth, s), task.first, tile.of_q);
  float sums[M][HEAD / 8][4] = {};
  float top[M][2], total[M][2] = {};          // of each line: the largest score, the sum so far
#pragma unroll
  for (int m = 0; m < M; m++) top[m][0] = top[m][1] = minus_infinity<float>();
  const int last = s.causal && s.keys - task.first > at.LINES ? task.first + at.LINES : s.keys;
  fetch(tile.of[0], ks, 0);
  commit_copies();
  for (int begin = 0; begin < last; begin += KEYS) {
    wait_for_copies<0>();
    __syncthreads();                          // keys are there, the values before have been read
    fetch(tile.of[1], vs, begin);
    commit_copies();
    float p[M][N][4] = {};
    multiply_rows(p, queries, tile.of[0]);
    wait_for_copies<0>();
    __syncthreads();                          // values are there, the keys have been read
    if (begin + KEYS < last) fetch(tile.of[0], ks, begin + KEYS);
    commit_copies();
    score<false>(p, scores, task.first, begin);
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
      for (int h = 0; h < 2; h++) {
        float high = minus_infinity<float>();
#pragma unroll
        for (int n = 0; n < N; n++)
          high = m::max(high, m::max(p[m][n][2 * h], p[m][n][2 * h + 1]));
        high = m::max(top[m][h], over_line<Max, 4>(high));
        const float shift = finite(high);
        // 0 for the first tile that has a score, at most 1 where that is infinite
        const float less = __expf(-m::max(shift - top[m][h], 0.f));
        top[m][h] = high;
        total[m][h] *= less;
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
          for (int i = 2 * h; i < 2 * h + 2; i++)
            total[m][h] += p[m][n][i] = __expf(p[m][n][i] - shift);
#pragma unroll
        for (int n = 0; n < HEAD / 8; n++)
#pragma unroll
          for (int i = 2 * h; i < 2 * h + 2; i++) sums[m][n][i] *= less;
      }
    multiply(sums, p, tile.of[1]);
  }
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const float all = over_line<Sum, 4>(total[m][h]);
      const int row = task.first + at.line + m * 16 + h * 8;
      if (row >= s.rows) continue;
      const float per = all == 0.f ? 0.f : 1.f / all;  // nothing to attend to: 0
      T* const to = task.of(y, s.y) + row * s.y.row;
      write(to, sums[m], h, at.column, s.columns, per, s.packed);
      if (at.column == 0) lse[task.head * s.rows + row] = finite(top[m][h]) + m::log(all);
    }
  const Rows<T> qs = task.rows(q, s.q, s.rows, s.depth, s);
  const Matrices<T> of = {qs, ks, vs, vs, lse + task.head * s.rows, nullptr};
  set_apart<false, false>(sums, task.of(y, s.y), s.y.row, task.first + at.warp * 16 * M, 16 * M, of,
                          vs, scores, 1.f);
}

// The gradients of a block's lines, which are queries or OF_KEYS: with the probabilities
// p = exp(score - lse), that of a score is d = p * (g @ v^T - along). A line sums up d times
// the other side's rows, for gq or gk, and OF_KEYS p times those of g, for gv.
template <bool OF_KEYS, class T, int HEAD> struct Gradient {
  static constexpr int LINES = Lane<1>::LINES, COUNT = HEAD > 64 ? 32 : 64, N = COUNT / 8;
  using Others = HalfTile<T, COUNT, HEAD>;
  struct Memory {
    HalfTile<T, LINES, HEAD> lines;           // g or v
    Others first[2], second;                  // q or k and g or v of the other side
    float lse[2][COUNT], along[COUNT];        // of the rows of g
  };
  typedef float Sums[1][HEAD / 8][4];

  Memory& memory;
  const Task task;
  const Lane<1> at;
  const Shape& s;
  const Scores<T> scores;
  const Rows<T> qs, ks, vs, gs;
  const float *const lse, *const along;       // of the head

  __device__ __forceinline__ Gradient(Memory& memory, const T* g, const T* q, const T* k,
                                      const T* v, const void* mask, const float* lse,
                                      const float* along, const Shape& s, float scale)
      : memory(memory),
        task(s, OF_KEYS ? s.keys : s.rows, LINES, !OF_KEYS && s.causal),
        s(s),
        scores(mask, task, s, scale),
        qs(task.rows(q, s.q, s.rows, s.depth, s)),
        ks(task.rows(k, s.k, s.keys, s.depth, s)),
        vs(task.rows(v, s.v, s.keys, s.columns, s)),
        gs(task.rows(g, s.g, s.rows, s.columns, s)),
        lse(lse + task.head * s.rows),
        along(along + task.head * s.rows) {}

  static __device__ __forceinline__ float shift(float lse) {
    return lse == minus_infinity<float>() ? 0.f : lse;
  }
  // Numbers of the rows from `row` on.
  __device__ __forceinline__ void fetch_numbers(float* to, const float* from, int row) const {
    if (OF_KEYS && threadIdx.x < COUNT)
      copy_async<4>(to + threadIdx.x, from + row + threadIdx.x, row + threadIdx.x < s.rows);
  }
  __device__ __forceinline__ void fetch_first(int turn, int row) const {
    fetch(memory.first[turn], OF_KEYS ? qs : ks, row);
    fetch_numbers(memory.lse[turn], lse, row);
  }

  __device__ __forceinline__ void sum(Sums& of_d, Sums& of_p, bool needs_d, bool needs_p) const {
    unsigned mine[HEAD / 16][1][4];
    take(mine, OF_KEYS ? ks : qs, task.first, memory.lines);
    fetch(memory.lines, OF_KEYS ? vs : gs, task.first);
    float line_shift[2] = {}, line_less[2] = {};
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = task.first + at.line + h * 8;
      if (OF_KEYS || row >= s.rows) continue;
      line_shift[h] = shift(lse[row]);
      line_less[h] = along[row];
    }
    const int start = OF_KEYS && s.causal ? task.first / COUNT * COUNT : 0;
    const int last = OF_KEYS ? s.rows
                     : s.causal && s.keys - task.first > LINES ? task.first + LINES
                                                               : s.keys;
    fetch_first(0, start);
    commit_copies();
    for (int begin = start, turn = 0; begin < last; begin += COUNT, turn ^= 1) {
      wait_for_copies<0>();
      __syncthreads();                        // this turn's are there, all others have been read
      fetch(memory.second, OF_KEYS ? gs : vs, begin);
      fetch_numbers(memory.along, along, begin);
      commit_copies();
      if (begin + COUNT < last) fetch_first(turn ^ 1, begin + COUNT);
      commit_copies();
      float p[1][N][4] = {}, d[1][N][4] = {};
      multiply_rows(p, mine, memory.first[turn]);
      score<OF_KEYS>(p, scores, task.first, begin);
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* const of = memory.lse[turn] + n * 8 + at.column + i % 2;
          p[0][n][i] = __expf(p[0][n][i] - (OF_KEYS ? shift(*of) : line_shift[i / 2]));
        }
      wait_for_copies<1>();
      __syncthreads();                        // the seconds are there
      if (OF_KEYS && needs_p) multiply(of_p, p, memory.second);
      if (!needs_d) continue;
      multiply_rows(d, memory.lines, at.warp * 16, memory.second);
#pragma unroll
      for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float* const of = memory.along + n * 8 + at.column + i % 2;
          d[0][n][i] = p[0][n][i] * (d[0][n][i] - (OF_KEYS ? *of : line_less[i / 2]));
        }
      multiply(of_d, d, memory.first[turn]);
    }
    wait_for_copies<0>();                     // for those of a block that sees nothing
  }

  // The block's lines of sums, times a factor, as rows of a result; whether they need `apart`.
  __device__ __forceinline__ bool write(T* to, const Strides& step, const Sums& sums, int width,
                                        float factor) const {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int line = task.first + at.line + h * 8;
      if (line >= (OF_KEYS ? s.keys : s.rows)) continue;
      T* const row = task.of(to, step) + line * step.row;
      ::write(row, sums[0], h, at.column, width, factor, s.packed);
    }
    return need_apart(sums, scores);
  }

  // The same lines anew, one by one: sums over x of d, or of p.
  template <bool OF_D>
  __device__ __forceinline__ void apart(T* to, const Strides& step, const Rows<T>& x,
                                        float factor) const {
    const Matrices<T> of = {qs, ks, vs, gs, lse, along};
    __syncwarp();
    lines_apart<OF_KEYS, OF_D>(task.of(to, step), step.row, task.first + at.warp * 16, 16, of, x,
                               scores, factor);
  }
};

template <class T, int HEAD>
__global__ void __launch_bounds__(THREADS, 2)
attention_grad_q_mma(const T* __restrict__ g, const T* __restrict__ q, const T* __restrict__ k,
                     const T* __restrict__ v, const void* __restrict__ mask,
                     const float* __restrict__ lse, const float* __restrict__ along,
                     T* __restrict__ gq, Shape s, float scale) {
  using G = Gradient<false, T, HEAD>;
  __shared__ typename G::Memory memory;
  const G gradient(memory, g, q, k, v, mask, lse, along, s, scale);
  typename G::Sums of_q = {}, none = {};
  gradient.sum(of_q, none, true, false);
  if (gradient.write(gq, s.gq, of_q, s.depth, scale))
    gradient.template apart<true>(gq, s.gq, gradient.ks, scale);
}

// `apart` of both results, with all that it needs made anew: held through the loops, that would not
// fit in the registers.
template <class T, int HEAD>
__device__ __noinline__ void
grad_kv_apart(typename Gradient<true, T, HEAD>::Memory& memory, const T* g, const T* q, const T* k,
              const T* v, const void* mask, const float* lse, const float* along, T* gk, T* gv,
              Shape s, float scale, bool of_k, bool of_v) {
  const Gradient<true, T, HEAD> gradient(memory, g, q, k, v, mask, lse, along, s, scale);
  if (of_k) gradient.template apart<true>(gk, s.gk, gradient.qs, scale);
  if (of_v) gradient.template apart<false>(gv, s.gv, gradient.gs, 1.f);
}

template <class T, int HEAD>
__global__ void __launch_bounds__(THREADS, 2)
attention_grad_kv_mma(const T* __restrict__ g, const T* __restrict__ q, const T* __restrict__ k,
                      const T* __restrict__ v, const void* __restrict__ mask,
                      const float* __restrict__ lse, const float* __restrict__ along,
                      T* __restrict__ gk, T* __restrict__ gv, Shape s, float scale, int needs_k,
                      int needs_v) {
  using G = Gradient<true, T, HEAD>;
  __shared__ typename G::Memory memory;
  const G gradient(memory, g, q, k, v, mask, lse, along, s, scale);
  typename G::Sums of_k = {}, of_v = {};
  gradient.sum(of_k, of_v, needs_k, needs_v);
  const bool apart_k = needs_k && gradient.write(gk, s.gk, of_k, s.depth, scale);
  const bool apart_v = needs_v && gradient.write(gv, s.gv, of_v, s.columns, 1.f);
  if (apart_k || apart_v)
    grad_kv_apart<T, HEAD>(memory, g, q, k, v, mask, lse, along, gk, gv, s, scale, apart_k, apart_v);
}
