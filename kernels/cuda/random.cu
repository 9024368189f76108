// random.cu - Philox 4x32-10 (Salmon et al. 2011). The state is the key and the number of blocks
// drawn; a block is four words, one thread's work.
#include "vectors.cuh"

typedef unsigned long long State;

struct Words {
  unsigned of[4];
};

__device__ __forceinline__ Words philox(State key, State block) {
  unsigned c0 = unsigned(block), c1 = unsigned(block >> 32), c2 = 0, c3 = 0;
  unsigned k0 = unsigned(key), k1 = unsigned(key >> 32);
  for (int round = 0; round < 10; round++) {
    const unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    const unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

__global__ void random_bits(const State* __restrict__ state, unsigned* __restrict__ words,
                            Index n) {
  const State key = state[0], drawn = state[1];
  for (Index i = first(); 4 * i < n; i += stride()) {
    const Words block = philox(key, drawn + State(i));
    for (int k = 0; k < 4; k++)
      if (4 * i + k < n) words[4 * i + k] = block.of[k];
  }
}

// A thread takes whole blocks of words: four numbers, or as many as a pack of halves has.
template <class T, int V>
__global__ void dropout(const T* __restrict__ x, const State* __restrict__ state,
                        T* __restrict__ y, Index n, unsigned threshold, Wide<T> scale) {
  using A = Wide<T>;
  constexpr int TAKEN = V > 4 ? V : 4;
  const State key = state[0], drawn = state[1];
  for (Index i = first() * TAKEN; i < n; i += stride() * TAKEN) {
    Words words;
#pragma unroll
    for (int k = 0; k < TAKEN; k += V) {
      if (i + k >= n) break;
      auto pack = load_pack<V>(x + i + k);
#pragma unroll
      for (int e = 0; e < V; e++) {
        if ((k + e) % 4 == 0) words = philox(key, drawn + State(i + k + e) / 4);
        pack.at[e] = T(words.of[(k + e) % 4] >= threshold ? A(pack.at[e]) * scale : A(0));
      }
      store_pack(y + i + k, pack);
    }
  }
}

__global__ void advance_random(State* state, State* taken, State blocks) {
  taken[0] = state[0];
  taken[1] = state[1];
  state[1] += blocks;
}
