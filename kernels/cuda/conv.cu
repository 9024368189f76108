// conv.cu - convolution as implicit GEMM (register_tiles.cuh, mma.cuh): the im2col matrix is never
// materialised, its tiles are gathered from the images. The gradient of the images is the same GEMM
// on the cotangent, phase by phase of the stride, with the filters reordered for it; that of the
// filters is split along its sum over all windows (split-K).
#include "scalars.cuh"
#include "column_sums.cuh"
#include "mma.cuh"

// Along one axis: `places` windows begin at i * step + from; tap number a of `count` sees, from
// there on, first + a * tap; and what window i gives goes to i * spread + at.
struct Axis {
  int places, step, from, count, tap, first, spread, at;
};

// Where windows are `spread` apart, the gradient of the images takes as many phases along an axis,
// each with taps of its own. The filters of a phase are (groups, lines, inner, taps).
constexpr int PHASES = 4;
struct Conv {
  Index filters[PHASES * PHASES];             // where those of a phase begin
  int images, groups, lines, inner;           // of a group: channels of the result, of what is seen
  int height, width, out_height, out_width;
  int across, activation, has_bias, packed, whole;
  Axis rows[PHASES], columns[PHASES];
};

constexpr int NOWHERE = -(1 << 30);           // no row; extents are below half of that

struct alignas(16) Tap {
  int offset, row, column, unused;
};
struct Window {
  Index base;
  int row, column;
};

__device__ __forceinline__ Tap tap_of(int k, int steps, const Conv& s, const Axis& rows,
                                      const Axis& columns) {
  if (k >= steps) return {0, NOWHERE, NOWHERE, 0};
  const int line = k / columns.count, channel = line / rows.count;
  const int row = rows.first + (line - channel * rows.count) * rows.tap;
  const int column = columns.first + (k - line * columns.count) * columns.tap;
  return {(channel * s.height + row) * s.width + column, row, column, 0};
}

// The image, row and column of window i of the batch.
struct Found {
  int image, row, column;
  __device__ __forceinline__ Found(int i, const Axis& rows, const Axis& columns) {
    const int line = i / columns.places;
    image = line / rows.places;
    row = line - image * rows.places;
    column = i - line * columns.places;
  }
  __device__ __forceinline__ Window in(int group, const Conv& s, const Axis& rows,
                                       const Axis& columns) const {
    const int top = row * rows.step + rows.from, left = column * columns.step + columns.from;
    const Index plane = (Index(image) * s.groups + group) * s.inner;
    return {(plane * s.height + top) * s.width + left, top, left};
  }
};

template <class T>
__device__ __forceinline__ T seen(const T* x, const Window& window, const Tap& tap,
                                  const Conv& s) {
  const int row = window.row + tap.row, column = window.column + tap.column;
  const bool inside = unsigned(row) < unsigned(s.height) && unsigned(column) < unsigned(s.width);
  return inside ? x[window.base + tap.offset] : T(0.f);
}

enum { NONE, RELU, SIGMOID, TANH };           // activation

template <class A> __device__ __forceinline__ A activated(int activation, A x) {
  switch (activation) {
    case RELU: return f::relu::of(x, A(0));
    case SIGMOID: return f::sigmoid::of(x, A(0));
    case TANH: return f::tanh::of(x, A(0));
  }
  return x;
}

// The GEMM of a block: accumulators in registers, operands staged in shared memory, DEPTH k-steps
// at a time. A thread's register tile is H x W, of which P neighbours are consecutive columns. The
// right operand is staged with k outermost, or transposed if TRANSPOSED.
template <class T, int M, int DOWN, bool TRANSPOSED, bool HALVES = sizeof(T) == 2> struct Product {
  using A = Wide<T>;
  static constexpr int P = Tile<A>::PACK, H = M * P, W = 2 * P, DEPTH = Tile<A>::DEPTH;
  static constexpr int LINES = Spot<DOWN>::LINES * H, COLUMNS = Spot<DOWN>::COLUMNS * W;
  struct alignas(16) Memory {
    A lines[DEPTH * LINES], columns[DEPTH * COLUMNS];
  };
  Memory& memory;
  const Spot<DOWN> spot;
  A sums[H][W] = {};
  __device__ __forceinline__ Product(Memory& memory) : memory(memory) {}
  __device__ __forceinline__ int line(int h) const {
    return (h / P * Spot<DOWN>::LINES + spot.line) * P + h % P;
  }
  __device__ __forceinline__ int column(int w) const {
    return (w / P * Spot<DOWN>::COLUMNS + spot.column) * P + w % P;
  }
  __device__ __forceinline__ A at(int h, int w) const { return sums[h][w]; }
  // Does any thread of this warp have an element of the result?
  __device__ __forceinline__ bool used(int lines, int columns) const {
    return spot.line / 4 * 4 * P < lines && spot.column / 8 * 8 * P < columns;
  }
  __device__ __forceinline__ void fetch_lines(const Rows<T>& x, int line, int k) {
    stage<LINES, DEPTH, true>(memory.lines, x, line, k);
  }
  __device__ __forceinline__ void wait() const {}
  __device__ __forceinline__ void set_line(int line, int k, T value) {
    memory.lines[k * LINES + swizzled<A, LINES>(line / P, k) + line % P] = A(value);
  }
  template <int V>
  __device__ __forceinline__ void set_line(int line, int k, const Pack<T, V>& values) {
#pragma unroll
    for (int e = 0; e < V; e++) set_line(line, k + e, values.at[e]);
  }
  __device__ __forceinline__ void set_column(int column, int k, T value) {
    const int pack = column / P;
    const int at = TRANSPOSED ? swizzled<A, COLUMNS>(pack, k) : pack * P;
    memory.columns[k * COLUMNS + at + column % P] = A(value);
  }
  __device__ __forceinline__ void add(int steps) {
    multiply<M, 2, DOWN, TRANSPOSED>(sums, memory.lines, memory.columns, steps);
  }
};

// The same for halves on tensor cores: a warp tile is 16 M lines by 64 columns.
template <class T, int M, int DOWN, bool TRANSPOSED> struct Product<T, M, DOWN, TRANSPOSED, true> {
  static constexpr int P = 2, H = 2 * M, W = 16, DEPTH = 32;
  static constexpr int LINES = 16 * M * DOWN, COLUMNS = 64 * (THREADS / 32 / DOWN);
  struct Memory {
    HalfTile<T, LINES, DEPTH> lines;
    HalfTile<T, TRANSPOSED ? COLUMNS : DEPTH, TRANSPOSED ? DEPTH : COLUMNS> columns;
  };
  Memory& memory;
  const int lane = threadIdx.x % 32, line_of_warp = threadIdx.x / 32 % DOWN * 16 * M;
  const int column_of_warp = threadIdx.x / 32 / DOWN * 64;
  float sums[M][8][4] = {};
  __device__ __forceinline__ Product(Memory& memory) : memory(memory) {}
  __device__ __forceinline__ int line(int h) const { return line_of_warp + h * 8 + lane / 4; }
  __device__ __forceinline__ int column(int w) const {
    return column_of_warp + w / 2 * 8 + lane % 4 * 2 + w % 2;
  }
  __device__ __forceinline__ float at(int h, int w) const {
    return sums[h / 2][w / 2][h % 2 * 2 + w % 2];
  }
  __device__ __forceinline__ bool used(int lines, int columns) const {
    return line_of_warp < lines && column_of_warp < columns;
  }
  __device__ __forceinline__ void fetch_lines(const Rows<T>& x, int line, int k) {
    fetch(memory.lines, x, line, k);
    commit_copies();
  }
  __device__ __forceinline__ void wait() const { wait_for_copies<0>(); }
  __device__ __forceinline__ void set_line(int line, int k, T value) {
    memory.lines.at[line * memory.lines.STEP + k] = value;
  }
  template <int V>
  __device__ __forceinline__ void set_line(int line, int k, const Pack<T, V>& values) {
    store_pack(memory.lines.at + line * memory.lines.STEP + k, values);
  }
  __device__ __forceinline__ void set_column(int column, int k, T value) {
    auto& tile = memory.columns;
    tile.at[TRANSPOSED ? column * tile.STEP + k : k * tile.STEP + column] = value;
  }
  __device__ __forceinline__ void add(int steps) {
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
      if (k >= steps) break;
      unsigned a[M][4], b[4];
#pragma unroll
      for (int m = 0; m < M; m++) read<false>(a[m], memory.lines, line_of_warp + m * 16, k);
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        const int column = column_of_warp + n * 8;
        if constexpr (TRANSPOSED) read<false>(b, memory.columns, column, k);
        else read<true>(b, memory.columns, k, column);
#pragma unroll
        for (int m = 0; m < M; m++) {
          mma<T>(sums[m][n], a[m], b[0], b[TRANSPOSED ? 2 : 1]);
          mma<T>(sums[m][n + 1], a[m], b[TRANSPOSED ? 1 : 2], b[3]);
        }
      }
    }
  }
};

// y = activation(filters @ im2col(x) + b): lines are channels of y, columns the windows of all
// images; bias and activation are the epilogue.
template <class T, int M, int DOWN>
__global__ void __launch_bounds__(THREADS, 3)
convolve(const T* __restrict__ x, const T* __restrict__ filters, const T* __restrict__ b,
         T* __restrict__ y, const Conv s) {
  using A = Wide<T>;
  using S = Product<T, M, DOWN, false>;
  constexpr int P = S::P, DEPTH = S::DEPTH, LINES = S::LINES, COLUMNS = S::COLUMNS;
  constexpr int OWN = COLUMNS > THREADS ? COLUMNS / THREADS : 1;  // columns that a thread gathers
  constexpr int APART = COLUMNS > THREADS ? 1 : THREADS / COLUMNS, COUNT = DEPTH / APART;
  constexpr int SOME = COUNT < 8 ? COUNT : 8;
  __shared__ typename S::Memory memory;
  __shared__ Tap taps[2][DEPTH];
  __shared__ Index targets[COLUMNS];
  const Axis& rows = s.rows[blockIdx.y / s.across];
  const Axis& columns = s.columns[blockIdx.y % s.across];
  const int tiles = (s.lines + LINES - 1) / LINES;
  const int line = blockIdx.x % tiles * LINES, group = blockIdx.x / tiles % s.groups;
  const Index first = Index(blockIdx.x / tiles / s.groups) * COLUMNS;
  const Index windows = Index(s.images) * rows.places * columns.places;
  if (first >= windows) return;
  const int steps = s.inner * rows.count * columns.count;
  const Index per_group = Index(s.lines) * steps, area = Index(s.out_height) * s.out_width;
  const Rows<T> weights = {filters + s.filters[blockIdx.y] + group * per_group, steps, s.lines,
                           steps, s.packed != 0};
  Window own[OWN];
#pragma unroll
  for (int o = 0; o < OWN; o++) {
    const int column = threadIdx.x % COLUMNS + o * THREADS;
    Index target = -1;
    own[o] = {0, NOWHERE, NOWHERE};
    if (first + column < windows) {
      const Found found(int(first + column), rows, columns);
      own[o] = found.in(group, s, rows, columns);
      target = (Index(found.image) * s.groups + group) * s.lines * area +
               Index(found.row * rows.spread + rows.at) * s.out_width +
               found.column * columns.spread + columns.at;
    }
    if (threadIdx.x < COLUMNS) targets[column] = target;
  }
  if (threadIdx.x < DEPTH) taps[0][threadIdx.x] = tap_of(threadIdx.x, steps, s, rows, columns);
  S product(memory);
  const bool used = product.used(s.lines - line, int(windows - first < COLUMNS ? windows - first
                                                                               : COLUMNS));
  for (int k = 0; k < steps; k += DEPTH) {
    const int now = k / DEPTH % 2;
    __syncthreads();                          // the taps are there; what was staged has been read
    product.fetch_lines(weights, line, k);
#pragma unroll
    for (int o = 0; o < OWN; o++) {
      const int column = threadIdx.x % COLUMNS + o * THREADS;
#pragma unroll 1
      for (int begin = threadIdx.x / COLUMNS; begin < DEPTH; begin += SOME * APART) {
        T got[SOME];
#pragma unroll
        for (int i = 0; i < SOME; i++) got[i] = seen(x, own[o], taps[now][begin + i * APART], s);
#pragma unroll
        for (int i = 0; i < SOME; i++) product.set_column(column, begin + i * APART, got[i]);
      }
    }
    if (threadIdx.x < DEPTH)
      taps[1 - now][threadIdx.x] = tap_of(k + DEPTH + threadIdx.x, steps, s, rows, columns);
    product.wait();
    __syncthreads();
    if (used) product.add(steps - k < DEPTH ? steps - k : DEPTH);
  }
  if (!steps) __syncthreads();                // the targets are there
#pragma unroll
  for (int h = 0; h < S::H; h++) {
    const int channel = line + product.line(h);
    if (channel >= s.lines) continue;
    const A bias = s.has_bias ? load(b, group * s.lines + channel) : A(0);
#pragma unroll
    for (int w = 0; w < S::W; w += P) {
      Pack<T, P> pack;
#pragma unroll
      for (int j = 0; j < P; j++)
        pack.at[j] = T(activated(s.activation, product.at(h, w + j) + bias));
      const Index* const to = targets + product.column(w);
      if (s.whole) {
        if (to[0] >= 0) store_pack(y + to[0] + channel * area, pack);
      } else {
#pragma unroll
        for (int j = 0; j < P; j++)
          if (to[j] >= 0) y[to[j] + channel * area] = pack.at[j];
      }
    }
  }
}

// Filters (groups * inner, lines, kh, kw) reordered by the phases of the images' gradient.
struct Order {
  int height, width, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, every_h, every_w;
};
template <class T>
__global__ void reorder_filters(const T* __restrict__ w, T* __restrict__ filters, Index size,
                             const Order o, const Conv s) {
  for (Index i = first(); i < size; i += stride()) {
    const int taps = o.height * o.width, place = int(i % taps);
    const int row = place / o.width, column = place % o.width;
    const Index line = i / taps % s.lines, from = i / taps / s.lines;
    const int at = (row * o.dilation_h - o.pad_h) % o.stride_h;
    const int across = (column * o.dilation_w - o.pad_w) % o.stride_w;
    const int phase_h = at < 0 ? at + o.stride_h : at;
    const int phase_w = across < 0 ? across + o.stride_w : across;
    const int wide = s.columns[phase_w].count, count = s.rows[phase_h].count * wide;
    const Index to = ((from / s.inner * s.lines + line) * s.inner + from % s.inner) * count;
    filters[s.filters[phase_h * s.across + phase_w] + to + row / o.every_h * wide +
            column / o.every_w] = w[i];
  }
}

// Split-K: each part is g @ im2col(x)^T over `per` windows. Lines are channels of g, columns the
// elements of a filter.
template <class T, int M, int DOWN>
__global__ void __launch_bounds__(THREADS, 3)
convolve_filters(const T* __restrict__ x, const T* __restrict__ g, Wide<T>* __restrict__ parts,
                 int per, const Conv s) {
  using S = Product<T, M, DOWN, true>;
  constexpr int V = Pack<T>::size, DEPTH = S::DEPTH, LINES = S::LINES;
  constexpr int COLUMNS = S::COLUMNS, BESIDE = THREADS / DEPTH;  // columns gathered side by side
  constexpr int SOME = 8;
  __shared__ typename S::Memory memory;
  __shared__ Tap taps[COLUMNS];
  const Axis& rows = s.rows[0];
  const Axis& columns = s.columns[0];
  const int width = s.inner * rows.count * columns.count, plane = rows.places * columns.places;
  const int down = (s.lines + LINES - 1) / LINES, across = (width + COLUMNS - 1) / COLUMNS;
  const int line = blockIdx.x % down * LINES, column = blockIdx.x / down % across * COLUMNS;
  const int group = blockIdx.x / down / across % s.groups;
  const int part = blockIdx.x / down / across / s.groups;
  const int begin = part * per, windows = s.images * plane;
  const int end = windows - begin < per ? windows : begin + per;
  for (int c = threadIdx.x; c < COLUMNS; c += THREADS)
    taps[c] = tap_of(column + c, width, s, rows, columns);
  S product(memory);
  const bool used = product.used(s.lines - line, width - column);
  for (int at = begin; at < end; at += DEPTH) {
    __syncthreads();
    if (s.packed) {                           // packs of windows, which lie in one image
      const int k = threadIdx.x % (DEPTH / V) * V, i = (at + k) / plane;
      const Index first = (Index(i) * s.groups + group) * s.lines * plane;
      const T* const from = g + first + (at + k - i * plane);
#pragma unroll 4
      for (int r = threadIdx.x / (DEPTH / V); r < LINES; r += THREADS / (DEPTH / V)) {
        Pack<T> got;
        if (at + k < end && line + r < s.lines) {
          got = load_pack<V>(from + Index(line + r) * plane);
        } else {
#pragma unroll
          for (int e = 0; e < V; e++) got.at[e] = T(0.f);
        }
        product.set_line(r, k, got);
      }
    }
    const int k = threadIdx.x % DEPTH;
    const bool there = at + k < end;
    const Found found(there ? at + k : 0, rows, columns);
    if (!s.packed) {
      const T* const from = g + (Index(found.image) * s.groups + group) * s.lines * plane +
                            found.row * columns.places + found.column;
#pragma unroll 4
      for (int r = threadIdx.x / DEPTH; r < LINES; r += BESIDE)
        product.set_line(r, k, there && line + r < s.lines ? from[Index(line + r) * plane]
                                                           : T(0.f));
    }
    Window window = found.in(group, s, rows, columns);
    if (!there) window.row = NOWHERE;
#pragma unroll 1
    for (int c = threadIdx.x / DEPTH; c < COLUMNS; c += SOME * BESIDE) {
      T got[SOME];
#pragma unroll
      for (int i = 0; i < SOME; i++)
        if (c + i * BESIDE < COLUMNS) got[i] = seen(x, window, taps[c + i * BESIDE], s);
#pragma unroll
      for (int i = 0; i < SOME; i++)
        if (const int to = c + i * BESIDE; to < COLUMNS)
          product.set_column(to, k, got[i]);
    }
    __syncthreads();
    if (used) product.add(end - at < DEPTH ? end - at : DEPTH);
  }
  Wide<T>* const to = parts + ((Index(part) * s.groups + group) * s.lines + line) * width + column;
#pragma unroll
  for (int h = 0; h < S::H; h++) {
    if (line + product.line(h) >= s.lines) continue;
#pragma unroll
    for (int w = 0; w < S::W; w++)
      if (column + product.column(w) < width)
        to[Index(product.line(h)) * width + product.column(w)] = product.at(h, w);
  }
}

// gz = the cotangent of the activation's input, and for each channel (the bias) its partial sums
// over `per` elements, counted through all images; a warp a sum.
template <class T, int V>
__global__ void graded(const T* __restrict__ g, const T* __restrict__ y, T* __restrict__ gz,
                       Wide<T>* __restrict__ parts, Index channels, Index plane, Index size,
                       Index per, int activation) {
  using A = Wide<T>;
  const Index count = (size + per - 1) / per;
  for (Index r = first_row(); r < count * channels; r += row_stride()) {
    const Index begin = r / channels * per, end = begin + per < size ? begin + per : size;
    A sum = 0;
    for (Index i = begin + threadIdx.x * V; i < end; i += 32 * V) {
      const Index at = (i / plane * channels + r % channels) * plane + i % plane;
      auto gs = load_pack<V>(g + at);
      if (activation != NONE) {
        const auto ys = load_pack<V>(y + at);
        for (int e = 0; e < V; e++) {
          const A slope = A(gs.at[e]), value = A(ys.at[e]);
          gs.at[e] = T(activation == RELU      ? f::relu_grad::of(slope, value, A(0))
                       : activation == SIGMOID ? f::sigmoid_grad::of(slope, value, A(0))
                                               : f::tanh_grad::of(slope, value, A(0)));
        }
        store_pack(gz + at, gs);
      }
      for (int e = 0; e < V; e++) sum += A(gs.at[e]);
    }
    sum = over_row<Sum>(sum);
    if (threadIdx.x == 0) parts[r] = sum;
  }
}
