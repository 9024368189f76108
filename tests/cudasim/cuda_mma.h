// cuda_mma.h - kernels/cuda/mma.cuh for the CPU: warp-wide products, loads and copies that go on.
//
// Fragments are laid out as in the PTX ISA (matrix fragments for mma.m16n8k16 with .f16 and .bf16;
// ldmatrix). An asynchronous copy is made at once where threads run forward, as late as it may be
// where they run backward, and at either time where they are shuffled: what does not wait for it
// reads poison, and what is written over too early shows, too.
#pragma once

namespace cudacpu {

constexpr int MAX_COPIES = 96;                // of a thread, under way
struct Copy {
  void* to;
  const void* from;                           // null: zeros
  int bytes;
  unsigned group;
};
static Copy copies[MAX_THREADS][MAX_COPIES];
static float shown[2][MAX_THREADS][12];       // what the lanes of a warp show each other

// Shows numbers to the warp, once all its lanes are there. A lane may be ahead of another by one
// meeting, hence two of them.
inline const float (*meet(Site site, const float* mine, int count))[12] {
  Thread& me = *engine.current;
  auto& now = shown[me.meetings++ % 2];
  memcpy(now[me.linear], mine, count * sizeof(float));
  warp_barrier(site, 0xffffffffu);
  return now + me.linear / 32 * 32;
}

inline void check_shared(const void* p, int bytes, int line) {
  const char* c = static_cast<const char*>(p);
  const bool ours = (c >= engine.shared && c + bytes <= engine.shared + engine.shared_bytes) ||
                    (c >= engine.dynamic && c + bytes <= engine.dynamic + engine.dynamic_bytes);
  if (!ours) fail("an address that is not in shared memory", line);
  if ((unsigned long)p % bytes) fail("a misaligned address in shared memory", line);
}

inline void make_copies(unsigned before) {    // of all groups before that number
  Thread& me = *engine.current;
  unsigned kept = 0;
  for (unsigned i = 0; i < me.copies; i++) {
    const Copy& copy = copies[me.linear][i];
    if (int(copy.group - before) >= 0) copies[me.linear][kept++] = copy;
    else if (copy.from) memcpy(copy.to, copy.from, copy.bytes);
    else memset(copy.to, 0, copy.bytes);
  }
  me.copies = kept;
}

template <class T> float half_at(unsigned pair, int i) {
  return float(T::from_bits((unsigned short)(pair >> 16 * i)));
}

}  // namespace cudacpu

template <class T> inline void mma(float (&sum)[4], const unsigned (&a)[4], unsigned b0,
                                   unsigned b1) {
  using cudacpu::half_at;
  float mine[12];                             // a0 to a7 and b0 to b3 of the documentation
  for (int i = 0; i < 8; i++) mine[i] = half_at<T>(a[i / 2], i % 2);
  for (int i = 0; i < 4; i++) mine[8 + i] = half_at<T>(i < 2 ? b0 : b1, i % 2);
  const auto* warp = cudacpu::meet(CUDACPU_SITE, mine, 12);
  const int group = cudacpu::lane() / 4, thread = cudacpu::lane() % 4;
  for (int i = 0; i < 4; i++) {
    const int row = i < 2 ? group : group + 8, column = thread * 2 + i % 2;
    for (int k = 0; k < 16; k++) {
      const int of_a = row % 8 * 4 + k % 8 / 2, of_b = column * 4 + k % 8 / 2;
      const float x = warp[of_a][k / 8 * 4 + row / 8 * 2 + k % 2];
      const float y = warp[of_b][8 + k / 8 * 2 + k % 2];
      sum[i] = ::fmaf(x, y, sum[i]);
    }
  }
}

template <bool TRANSPOSED> inline void ldmatrix(unsigned (&to)[4], const void* row) {
  cudacpu::check_shared(row, 16, __LINE__);
  float mine[4];                              // eight halves, as bits
  memcpy(mine, row, 16);
  const auto* warp = cudacpu::meet(CUDACPU_SITE, mine, 4);
  const int group = cudacpu::lane() / 4, thread = cudacpu::lane() % 4;
  for (int matrix = 0; matrix < 4; matrix++) {
    unsigned short half[2];
    for (int i = 0; i < 2; i++) {
      const int r = TRANSPOSED ? thread * 2 + i : group, c = TRANSPOSED ? group : thread * 2 + i;
      memcpy(&half[i], reinterpret_cast<const char*>(warp[matrix * 8 + r]) + 2 * c, 2);
    }
    to[matrix] = half[0] | unsigned(half[1]) << 16;
  }
}

template <int BYTES> inline void copy_async(void* to, const void* from, bool there) {
  using namespace cudacpu;
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "what cp.async copies");
  Thread& me = *engine.current;
  check_shared(to, BYTES, __LINE__);
  if (there && (unsigned long)from % BYTES)
    fail("cp.async from a misaligned address", __LINE__);
  if (me.copies == MAX_COPIES) fail("more copies under way than cuda_mma.h has room for", __LINE__);
  copies[me.linear][me.copies++] = {to, there ? from : nullptr, BYTES, me.groups};
  const bool late = engine.kind == 1 || (engine.kind == 2 && next_random() % 2);
  if (late) return;
  if (there) memcpy(to, from, BYTES);
  else memset(to, 0, BYTES);
  me.copies--;
}
inline void commit_copies() { cudacpu::engine.current->groups++; }
template <int LATEST> inline void wait_for_copies() {
  cudacpu::make_copies(cudacpu::engine.current->groups - LATEST);
}
