// embedding.cu - gather of rows by their ids (L: int or long long), and its adjoint, a
// deterministic segment sum: ids are sorted together with their positions, so that the order of
// addition follows from the ids alone, and then summed in tiles of 32, so that a frequent id is
// shared by many warps.
#include "vectors.cuh"

// An id outside the table gives NaN: to raise an error, the host would have to wait.
template <class T, int V, class L>
__global__ void embedding(const T* __restrict__ weight, const L* __restrict__ ids,
                          T* __restrict__ y, Index rows, Index features, Index count) {
  const Index packs = features / V;
  for (Index i = first(); i < rows * packs; i += stride()) {
    const Index id = ids[i / packs];
    Pack<T, V> pack;
    if (id >= 0 && id < count) pack = load_pack<V>(weight + id * features + i % packs * V);
    else for (int e = 0; e < V; e++) pack.at[e] = T(__int_as_float(0x7fffffff));
    store_pack(y + i * V, pack);
  }
}

// ----------------------------------------------------------------------------------------- sorting

typedef unsigned long long Key;               // the id in the upper half, its position in the lower
constexpr int SORTED = 2048;                  // keys that a block of half as many threads sorts
constexpr unsigned NO_ID = 0xffffffffu;

__device__ __forceinline__ unsigned id_of(Key key) { return unsigned(key >> 32); }

// Bitonic sort (Batcher 1968). Ids outside the table become `count`: they sort last.
template <class L>
__global__ void sort_chunks(const L* __restrict__ ids, Key* __restrict__ keys, Index n,
                            Index count) {
  __shared__ Key chunk[SORTED];
  for (Index begin = blockIdx.x * Index(SORTED); begin < n; begin += gridDim.x * Index(SORTED)) {
    __syncthreads();                          // the chunk before has been written
    for (int k = threadIdx.x; k < SORTED; k += blockDim.x) {
      const Index at = begin + k;
      const Index id = at < n ? Index(ids[at]) : 0;
      chunk[k] = at < n ? Key(id >= 0 && id < count ? id : count) << 32 | Key(at) : ~Key(0);
    }
    for (int size = 2; size <= SORTED; size *= 2)
      for (int apart = size / 2; apart; apart /= 2) {
        __syncthreads();
        const int low = threadIdx.x / apart * 2 * apart + threadIdx.x % apart, high = low + apart;
        const Key a = chunk[low], b = chunk[high];
        if ((a > b) == !(low & size)) {
          chunk[low] = b;
          chunk[high] = a;
        }
      }
    __syncthreads();
    for (int k = threadIdx.x; k < SORTED && begin + k < n; k += blockDim.x)
      keys[begin + k] = chunk[k];
  }
}

// How many of the sorted keys are below `key`.
__device__ __forceinline__ Index below(const Key* keys, Index n, Key key) {
  Index low = 0;
  while (low < n) {
    const Index middle = (low + n) / 2;
    if (keys[middle] < key) low = middle + 1;
    else n = middle;
  }
  return low;
}

// Merges neighbouring runs of `run` sorted keys; keys are unique.
__global__ void merge_runs(const Key* __restrict__ from, Key* __restrict__ to, Index n, Index run) {
  for (Index i = first(); i < n; i += stride()) {
    const Index pair = i / (2 * run) * 2 * run, next = pair + run;
    const Index other = i < next ? next : pair, rest = n - other;
    const Index before = rest > 0 ? below(from + other, rest < run ? rest : run, from[i]) : 0;
    to[(i < next ? i : i - run) + before] = from[i];
  }
}

// ----------------------------------------------------------------------------------------- summing

// The rows of g that 32 sorted keys name, a warp for 32 * V columns. The sum of an id whose keys
// are all in this tile is a row of the table. Others are partial: (tiles, 2, features), that of
// the first key's id and that of the last one's.
template <class T, int V>
__global__ void sum_tiles(const T* __restrict__ g, const Key* __restrict__ keys,
                          T* __restrict__ out, Wide<T>* __restrict__ partial, Index n,
                          Index features, Index count) {
  using A = Wide<T>;
  constexpr int AHEAD = V > 4 ? 2 : 4;        // loads in flight
  const Index tiles = (n + 31) / 32, bands = (features + 32 * V - 1) / (32 * V);
  for (Index w = first_row(); w < tiles * bands; w += row_stride()) {
    const Index tile = w / bands, j = (w % bands * 32 + threadIdx.x) * V, begin = tile * 32;
    const int rows = n - begin < 32 ? int(n - begin) : 32;
    const Key mine = threadIdx.x < rows ? keys[begin + threadIdx.x] : 0;
    const unsigned before = begin ? id_of(keys[begin - 1]) : NO_ID;
    const unsigned after = begin + rows < n ? id_of(keys[begin + rows]) : NO_ID;
    A sums[V] = {};
    bool at_first = true;                     // of this tile's ids
    for (int i = 0; i < rows; i += AHEAD) {
      Pack<T, V> packs[AHEAD];
      for (int k = 0; k < AHEAD; k++) {
        const Index place = unsigned(__shfl_sync(0xffffffffu, mine, i + k));
        if (i + k < rows && j < features) packs[k] = load_pack<V>(g + place * features + j);
      }
      for (int k = 0; k < AHEAD; k++) {
        const unsigned id = id_of(__shfl_sync(0xffffffffu, mine, i + k));
        const unsigned in_tile = id_of(__shfl_sync(0xffffffffu, mine, i + k + 1));
        if (i + k >= rows) continue;
        const bool last = i + k + 1 == rows;
        for (int e = 0; e < V; e++) sums[e] += A(packs[k].at[e]);
        if (!last && in_tile == id) continue;
        const bool whole = !(last && after == id) && !(at_first && before == id);
        if (j < features) {
          if (!whole)
            for (int e = 0; e < V; e++)
              partial[(2 * tile + !at_first) * features + j + e] = sums[e];
          else if (id < count)
            for (int e = 0; e < V; e++) store(out, id * features + j + e, sums[e]);
        }
        for (int e = 0; e < V; e++) sums[e] = 0;
        at_first = false;
      }
    }
  }
}

// Sums of the ids that several tiles have, by blocks of (32, 8) that take the tile with the first
// of them.
template <class T, int V>
__global__ void sum_runs(const Key* __restrict__ keys, const Wide<T>* __restrict__ partial,
                         T* __restrict__ out, Index n, Index features, Index count) {
  using A = Wide<T>;
  const Index tiles = (n + 31) / 32, bands = (features + 32 * V - 1) / (32 * V);
  for (Index w = blockIdx.x; w < (tiles - 1) * bands; w += gridDim.x) {
    const Index tile = w / bands, j = (w % bands * 32 + threadIdx.x) * V, begin = tile * 32;
    const unsigned id = id_of(keys[begin + 31]);
    if (id >= count || id_of(keys[begin + 32]) != id) continue;
    const bool at_first = id_of(keys[begin]) == id;
    if (at_first && begin && id_of(keys[begin - 1]) == id) continue;
    const Index end = below(keys, n, Key(id + 1) << 32);
    A sums[V] = {};
    if (j < features)
      for (Index t = tile + threadIdx.y; t * 32 < end; t += 8) {
        const Index slot = 2 * t + (t == tile && !at_first);
        const auto pack = load_pack<V>(partial + slot * features + j);
        for (int e = 0; e < V; e++) sums[e] += pack.at[e];
      }
    for (int e = 0; e < V; e++) {
      const A sum = over_column<8>(sums[e]);
      if (threadIdx.y == 0 && j < features) store(out, id * features + j + e, sum);
    }
  }
}
