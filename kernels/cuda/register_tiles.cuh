// register_tiles.cuh - GEMM of floats or doubles with register tiling: a block of THREADS threads
// computes a tile of the result, each thread a register tile of it. (Halves: mma.cuh.)
//
// A register tile consists of packs, as many lines or columns as 16 bytes hold (4 floats, 2
// doubles), so that loads from shared memory are vectorised. A warp is 4 x 8 threads; DOWN of the 4
// warps are below one another, the others beside them. Both operands are staged in shared memory
// with k outermost: [k][line] and [k][column]. An operand whose rows run along k is transposed for
// that, and its packs are swizzled by k (`swizzled`), so that neither writing nor reading it has
// bank conflicts.
#include "vectors.cuh"

constexpr int THREADS = 128;

template <class A> struct Tile {
  static constexpr int PACK = 16 / int(sizeof(A));
  static constexpr int DEPTH = 8 * PACK;            // k-steps that are staged at a time
};

// The thread's packs: of lines its number `line` and every LINES-th after it, and so of columns.
template <int DOWN> struct Spot {
  static constexpr int LINES = 4 * DOWN, COLUMNS = 8 * (THREADS / 32 / DOWN);
  int line, column;
  __device__ __forceinline__ Spot() {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    line = warp % DOWN * 4 + lane / 8;
    column = warp / DOWN * 8 + lane % 8;
  }
};

// The swizzle: where pack `pack` of step k is in a transposed operand of SIZE lines or columns.
template <class A, int SIZE> __device__ __forceinline__ int swizzled(int pack, int k) {
  constexpr int P = Tile<A>::PACK, AROUND = SIZE / P < 8 ? SIZE / P : 8;
  return (pack ^ k / P % AROUND) * P;
}

// sum += a * b over `steps` k-steps (rounded up to a pack): a register tile of M packs of lines by
// N of columns.
template <int M, int N, int DOWN, bool TRANSPOSED_B, class A, int H, int W>
__device__ __forceinline__ void multiply(A (&sum)[H][W], const A* a, const A* b, int steps) {
  using S = Spot<DOWN>;
  constexpr int P = Tile<A>::PACK, LINES = M * S::LINES * P, COLUMNS = N * S::COLUMNS * P;
  constexpr int AHEAD = N > 2 ? 1 : 2;        // with many sums there are no registers to spare
  static_assert(H == M * P && W == N * P, "a thread's sums");
  const S at;
#pragma unroll AHEAD
  for (int k = 0; k < steps; k += P) {
#pragma unroll
    for (int i = 0; i < P; i++) {
      Pack<A> x[M], y[N];
#pragma unroll
      for (int m = 0; m < M; m++)
        x[m] = load_pack<P>(a + (k + i) * LINES + swizzled<A, LINES>(m * S::LINES + at.line, k));
#pragma unroll
      for (int n = 0; n < N; n++) {
        const int pack = n * S::COLUMNS + at.column;
        y[n] = load_pack<P>(b + (k + i) * COLUMNS +
                            (TRANSPOSED_B ? swizzled<A, COLUMNS>(pack, k) : pack * P));
      }
#pragma unroll
      for (int h = 0; h < H; h++)
#pragma unroll
        for (int w = 0; w < W; w++) sum[h][w] += x[h / P].at[h % P] * y[w / P].at[w % P];
    }
  }
}

// A matrix in global memory with row stride `step`; `packed` if all rows hold whole packs of 16
// bytes and are aligned to that.
template <class T> struct Rows {
  const T* at;
  Index step;
  int count, width;
  bool packed;
  __device__ __forceinline__ bool has(int row, int column) const {
    return row < count && column < width;
  }
  __device__ __forceinline__ const T* of(int row, int column) const {
    return at + row * step + column;
  }
};

// Stages rows of x from `row` on and columns from `column` on in shared memory, zero-padded beyond
// its end: as they are, or transposed. Several loads are issued before the first store, to overlap.
template <int COUNT, int WIDTH, bool TRANSPOSED, class A>
__device__ __forceinline__ void stage(A* to, const Rows<A>& x, int row, int column) {
  constexpr int P = Tile<A>::PACK, ACROSS = WIDTH / P, PACKS = COUNT * ACROSS;
  constexpr int EACH = (PACKS + THREADS - 1) / THREADS, SOME = EACH * P > 16 ? 16 / P : EACH;
  static_assert(PACKS <= THREADS || PACKS % (SOME * THREADS) == 0, "as many for each thread");
  auto place = [](int r, int c) {
    return TRANSPOSED ? c * COUNT + swizzled<A, COUNT>(r / P, c) + r % P : r * WIDTH + c;
  };
  if (!x.packed) {
#pragma unroll 1
    for (int p = threadIdx.x; p < COUNT * WIDTH; p += THREADS) {
      const int r = p / WIDTH, c = p % WIDTH;
      to[place(r, c)] = x.has(row + r, column + c) ? *x.of(row + r, column + c) : A(0);
    }
    return;
  }
#pragma unroll 1
  for (int begin = threadIdx.x; begin < PACKS; begin += SOME * THREADS) {
    Pack<A> got[SOME];
#pragma unroll
    for (int i = 0; i < SOME; i++) {
      const int p = begin + i * THREADS, r = row + p / ACROSS, c = column + p % ACROSS * P;
      got[i] = x.has(r, c) ? load_pack<P>(x.of(r, c)) : Pack<A>{};
    }
#pragma unroll
    for (int i = 0; i < SOME; i++) {
      const int p = begin + i * THREADS, r = p / ACROSS, c = p % ACROSS * P;
      if constexpr (!TRANSPOSED) store_pack(to + place(r, c), got[i]);
      if constexpr (TRANSPOSED)
#pragma unroll
        for (int j = 0; j < P; j++) to[place(r, c + j)] = got[i].at[j];
    }
  }
}
