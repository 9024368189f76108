// mma.cuh - tensor cores: warp-level products of tiles of halves (mma.sync), accumulated in float.
//
// The instructions are those of the PTX ISA from sm_80 on. A warp's 32 threads hold a matrix
// between them. With g = lane / 4 and t = lane % 4, a register of two halves, and a pair of floats:
//
//   a  16 x 16  registers 0..3 at rows g, g + 8, g, g + 8, columns 2t, 2t, 2t + 8, 2t + 8 and next
//   b  16 x 8   registers 0..1 at column g, rows 2t, 2t + 8 and next
//   sum 16 x 8  floats 0..3 at rows g, g, g + 8, g + 8, columns 2t, 2t + 1, 2t, 2t + 1
//
// So sums of two neighbouring tiles, rounded to halves, are an operand a: see `rounded`.
#include "register_tiles.cuh"

#ifdef __CUDACC__  // for the CPU, tests/cudasim/cuda_mma.h has the same functions

// sum += a * b
template <class T>
__device__ __forceinline__ void mma(float (&sum)[4], const unsigned (&a)[4], unsigned b0,
                                    unsigned b1);
#define MMA(T, NAME) \
  template <> \
  __device__ __forceinline__ void mma<T>(float (&sum)[4], const unsigned (&a)[4], unsigned b0, \
                                         unsigned b1) { \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME ".f32 " \
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]) \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1)); \
  }
MMA(__half, "f16")
MMA(__nv_bfloat16, "bf16")
#undef MMA

// Four 8 x 8 matrices of halves from shared memory, one to a register: lane i gives the address of
// row i % 8 of matrix i / 8, 16 bytes, and gets columns 2t and 2t + 1 of row g, or if TRANSPOSED
// rows 2t and 2t + 1 of column g.
template <bool TRANSPOSED>
__device__ __forceinline__ void ldmatrix(unsigned (&to)[4], const void* row) {
  const unsigned at = unsigned(__cvta_generic_to_shared(row));
  if constexpr (TRANSPOSED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(at) : "memory");
}

// Copies 16 or 4 bytes to shared memory, or zeros if `there` is false, while the thread goes on.
template <int BYTES>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool there) {
  const unsigned at = unsigned(__cvta_generic_to_shared(to));
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(at), "l"(from), "r"(there ? 16 : 0) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                 :: "r"(at), "l"(from), "r"(there ? 4 : 0) : "memory");
}
// What was copied since the last call is a group.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits for the thread's groups, but not for the latest of them. A barrier must follow, for what
// other threads have copied.
template <int LATEST> __device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" :: "n"(LATEST) : "memory");
}

#endif

// Two halves in a register, the first in its lower bits.
template <class T> __device__ __forceinline__ unsigned pair(float low, float high);
template <> __device__ __forceinline__ unsigned pair<__half>(float low, float high) {
  const __half2 both = __floats2half2_rn(low, high);
  return reinterpret_cast<const unsigned&>(both);
}
template <> __device__ __forceinline__ unsigned pair<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const unsigned&>(both);
}

// An operand a, from sums of 16 x 16.
template <class T>
__device__ __forceinline__ void rounded(unsigned (&a)[4], const float (&left)[4],
                                        const float (&right)[4]) {
  a[0] = pair<T>(left[0], left[1]);
  a[1] = pair<T>(left[2], left[3]);
  a[2] = pair<T>(right[0], right[1]);
  a[3] = pair<T>(right[2], right[3]);
}

// ------------------------------------------------------------------- operands from shared memory

// Rows of WIDTH halves, padded by 16 bytes, so that eight rows' packs are in different banks.
template <class T, int ROWS, int WIDTH> struct alignas(16) HalfTile {
  static constexpr int STEP = WIDTH + 8;
  T at[ROWS * STEP];
};

// Asynchronous copies of rows of x from `row` on and columns from `column` on to a tile,
// zero-padded beyond the end of x: see wait_for_copies.
template <class T, int ROWS, int WIDTH>
__device__ __forceinline__ void fetch(HalfTile<T, ROWS, WIDTH>& tile, const Rows<T>& x, int row,
                                      int column = 0) {
  if (x.packed) {
    constexpr int V = Pack<T>::size, DOWN = THREADS / (WIDTH / V);
    const int first = threadIdx.x / (WIDTH / V), c = threadIdx.x % (WIDTH / V) * V;
    const int rows = column + c < x.width ? x.count - row - first : 0;
    const T* from = x.of(row + first, column + c);
    T* to = tile.at + first * tile.STEP + c;
    static_assert(DOWN > ROWS || ROWS % DOWN == 0, "as many for each thread");
#pragma unroll
    for (int r = 0; r < ROWS; r += DOWN) {
      if (DOWN <= ROWS || first < ROWS) copy_async<16>(to, from, r < rows);
      from += DOWN * x.step;
      to += DOWN * tile.STEP;
    }
  } else {
#pragma unroll 1
    for (int p = threadIdx.x; p < ROWS * WIDTH; p += THREADS) {
      const int r = p / WIDTH, c = p % WIDTH;
      const bool there = x.has(row + r, column + c);
      tile.at[r * tile.STEP + c] = there ? *x.of(row + r, column + c) : T(0.f);
    }
  }
}

// The warp's 16 x 16 halves from a row and a column on: an operand a, or two b side by side.
template <bool TRANSPOSED, class T, int ROWS, int WIDTH>
__device__ __forceinline__ void read(unsigned (&to)[4], const HalfTile<T, ROWS, WIDTH>& tile,
                                     int row, int column) {
  const int lane = threadIdx.x % 32;
  ldmatrix<TRANSPOSED>(to, tile.at + (row + lane % 16) * tile.STEP + column + lane / 16 * 8);
}

// sum += a times columns k and the 15 after it of b's rows, which are the columns of the product:
// 16 M lines, 8 N columns.
template <class T, int M, int N, int WIDTH, int ROWS>
__device__ __forceinline__ void multiply_step(float (&sum)[M][N][4], const unsigned (&a)[M][4],
                                              const HalfTile<T, ROWS, WIDTH>& b, int k) {
  static_assert(ROWS == 8 * N, "a column for each row");
#pragma unroll
  for (int n = 0; n < N; n += 2) {
    unsigned rows[4];
    read<false>(rows, b, n * 8, k);
#pragma unroll
    for (int m = 0; m < M; m++) {
      mma<T>(sum[m][n], a[m], rows[0], rows[2]);
      mma<T>(sum[m][n + 1], a[m], rows[1], rows[3]);
    }
  }
}

// sum += a @ b^T, with a in registers, or 16 lines of a tile.
template <class T, int M, int N, int WIDTH, int ROWS>
__device__ __forceinline__ void multiply_rows(float (&sum)[M][N][4],
                                              const unsigned (&a)[WIDTH / 16][M][4],
                                              const HalfTile<T, ROWS, WIDTH>& b) {
#pragma unroll
  for (int k = 0; k < WIDTH / 16; k++) multiply_step(sum, a[k], b, k * 16);
}
template <class T, int N, int WIDTH, int LINES, int ROWS>
__device__ __forceinline__ void multiply_rows(float (&sum)[1][N][4],
                                              const HalfTile<T, LINES, WIDTH>& a, int line,
                                              const HalfTile<T, ROWS, WIDTH>& b) {
#pragma unroll
  for (int k = 0; k < WIDTH; k += 16) {
    unsigned left[1][4];
    read<false>(left[0], a, line, k);
    multiply_step(sum, left, b, k);
  }
}

// sum += a @ b, with a rounded to halves.
template <class T, int M, int N, int WIDTH, int ROWS>
__device__ __forceinline__ void multiply(float (&sum)[M][WIDTH / 8][4],
                                         const float (&a)[M][N][4],
                                         const HalfTile<T, ROWS, WIDTH>& b) {
  static_assert(ROWS == 8 * N, "a row for each column");
#pragma unroll
  for (int k = 0; k < N; k += 2) {
    unsigned left[M][4];
#pragma unroll
    for (int m = 0; m < M; m++) rounded<T>(left[m], a[m][k], a[m][k + 1]);
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n += 2) {
      unsigned columns[4];
      read<true>(columns, b, k * 8, n * 8);
#pragma unroll
      for (int m = 0; m < M; m++) {
        mma<T>(sum[m][n], left[m], columns[0], columns[1]);
        mma<T>(sum[m][n + 1], left[m], columns[2], columns[3]);
      }
    }
  }
}
