// cuda_cpu.h - runs CUDA C kernels on the CPU, for tests: one fiber per CUDA thread.
//
// A launch runs on one operating-system thread. A CUDA thread runs until it waits at a barrier or a
// warp primitive; then the scheduler goes on with the next one, in forward, reversed or shuffled
// order. Shared memory is filled with 0xff (NaN, -1) before every block. Both together turn the
// usual mistakes (a missing barrier, memory never written, a barrier that some threads skip) into
// wrong numbers or into errors, which a sequential run in one order would hide.
//
// Needs g++ 12 or newer, C++17, x86-64 Linux. shim.py puts a kernel source between this header and
// a table of its kernels. One engine per shared library; the caller lets one launch run at a time.
#pragma once
#include <link.h>
#include <sys/mman.h>

#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

struct uint3 { unsigned x, y, z; };
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

namespace cudacpu {

constexpr unsigned MAX_THREADS = 1024;        // per block, as on every current GPU
constexpr size_t MAX_DYNAMIC = 227 << 10;     // dynamic shared memory of a block on sm_90
constexpr size_t GUARD = 256;                 // bytes watched behind the dynamic shared memory
constexpr unsigned char GUARD_BYTE = 0xc5;
constexpr size_t STACK = 128 << 10;
constexpr size_t BELOW = 1 << 20;             // writable: an overflow of the first stack ends there
constexpr uint64_t STACK_MARK = 0x5afe57ac5afe57acull;

enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Site { int line, id; };                // which barrier in the source a thread waits at

struct Thread {
  void* sp;                                   // saved stack pointer while it does not run
  State state;
  unsigned linear;
  uint3 index;
  Site site;
  unsigned mask;                              // warp primitives: the lanes that take part
  unsigned source;                            // ... the lane to read from
  uint64_t mine, got;                         // ... the published value, and the one received
  unsigned votes;                             // lanes (or number of threads) with a non-zero value
  unsigned meetings, copies, groups;          // see cuda_mma.h
};

struct Kernel {
  void (*function)();
  void (*call)(void (*function)(), void** args);
  const char* parameters;                     // one word a parameter, see describe()
};

struct Engine {
  Thread threads[MAX_THREADS];
  unsigned order[MAX_THREADS];                // in which the threads of a block get their turn
  unsigned count, started, workers, finished;
  Thread* current;
  void* scheduler;                            // stack pointer of the scheduler while a thread runs
  const Kernel* kernel;
  void** args;
  char* stacks;
  char* dynamic;
  size_t dynamic_bytes;
  char* shared;                               // the __shared__ variables of this library
  size_t shared_bytes;
  uint64_t random;
  int kind;                                   // of order: 0 forward, 1 reversed, 2 shuffled
  bool failed;
  char message[512];
};
static Engine engine;

// GCC ignores a section attribute on static variables of templates, so a linker section cannot
// gather the __shared__ variables. Thread-local storage can: one block of memory for each library.
#define __shared__ static __thread
static __thread char tls_anchor __attribute__((used));

// ---------------------------------------------------------------------------------------- fibers

extern "C" __attribute__((visibility("hidden"))) void cudacpu_switch(void** save, void* restore);
asm(R"(
.text
.hidden cudacpu_switch
.globl cudacpu_switch
.type cudacpu_switch, @function
cudacpu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cudacpu_switch, .-cudacpu_switch
)");

inline char* reserve(size_t bytes) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) { perror("cuda_cpu.h: mmap"); abort(); }
  madvise(memory, bytes, MADV_NOHUGEPAGE);    // else each touched stack costs 2 MiB
  return static_cast<char*>(memory);
}

void report(const char* format, ...);
inline void to_scheduler() { cudacpu_switch(&engine.current->sp, engine.scheduler); }

// A worker takes the threads of a block one after another. A thread that waits keeps the worker's
// stack, and the scheduler starts another worker: a block without barriers needs one fiber only.
inline void worker() {
  for (;;) {
    while (engine.started < engine.count) {
      Thread& thread = engine.threads[engine.order[engine.started++]];
      engine.current = &thread;
      threadIdx = thread.index;
      engine.kernel->call(engine.kernel->function, engine.args);
      engine.current->state = DONE;
      engine.finished++;
      if (engine.current->copies) report("a thread ended with copies to shared memory under way");
    }
    to_scheduler();
  }
}

inline void start_worker() {
  if (!engine.stacks) engine.stacks = reserve(BELOW + MAX_THREADS * STACK) + BELOW;
  char* stack = engine.stacks + engine.workers++ * STACK;
  *reinterpret_cast<uint64_t*>(stack) = STACK_MARK;
  void** top = reinterpret_cast<void**>(stack + STACK);
  *--top = nullptr;                           // return address of worker(): it never returns
  *--top = reinterpret_cast<void*>(worker);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  cudacpu_switch(&engine.scheduler, top);
}

inline void resume(Thread& thread) {
  engine.current = &thread;
  threadIdx = thread.index;
  cudacpu_switch(&engine.scheduler, thread.sp);
}

__attribute__((noinline)) inline void wait(State state, Site site) {
  engine.current->state = state;
  engine.current->site = site;
  to_scheduler();
  asm volatile("" ::: "memory");
}

// ---------------------------------------------------------------------------------------- errors

__attribute__((format(printf, 1, 2))) inline void report(const char* format, ...) {
  if (engine.failed) return;                  // the first error is the cause
  engine.failed = true;
  va_list args;
  va_start(args, format);
  vsnprintf(engine.message, sizeof engine.message, format, args);
  va_end(args);
}

// Called by a running thread: it is abandoned where it stands, and so is the launch.
[[noreturn]] inline void fail(const char* what, int line) {
  const uint3 t = threadIdx, b = blockIdx;
  report("%s (line %d, thread %u,%u,%u, block %u,%u,%u)", what, line, t.x, t.y, t.z, b.x, b.y, b.z);
  to_scheduler();
  __builtin_unreachable();
}

inline void diagnose_stuck_block() {
  const uint3 b = blockIdx;
  const Thread *warp = nullptr, *block = nullptr, *other = nullptr;
  for (unsigned i = 0; i < engine.count; i++) {
    const Thread& t = engine.threads[i];
    if (t.state == AT_WARP_BARRIER && !warp) warp = &t;
    if (t.state != AT_BLOCK_BARRIER) continue;
    if (!block) block = &t;
    else if (t.site.id != block->site.id) other = &t;
  }
  if (warp) {
    report("the warp primitive in line %d waits for ever: a lane named in the mask of thread %u "
           "waits elsewhere or with another mask (block %u,%u,%u)", warp->site.line, warp->linear,
           b.x, b.y, b.z);
  } else if (other) {
    report("threads of one block wait at different __syncthreads(), in lines %d and %d "
           "(block %u,%u,%u)", block->site.line, other->site.line, b.x, b.y, b.z);
  } else {
    report("__syncthreads() in line %d is not reached by every thread of the block: %u of %u have "
           "ended (block %u,%u,%u)", block->site.line, engine.finished, engine.count, b.x, b.y,
           b.z);
  }
}

// -------------------------------------------------------------------------------------- scheduler

inline uint64_t next_random() {               // splitmix64
  uint64_t z = engine.random += 0x9e3779b97f4a7c15ull;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

// Is every lane that `thread` names there, at the same primitive and with the same mask?
inline bool warp_is_complete(const Thread& thread, unsigned lanes) {
  const Thread* warp = engine.threads + thread.linear / 32 * 32;
  for (unsigned l = 0; l < lanes; l++) {
    if (!(thread.mask >> l & 1)) continue;
    if (warp[l].state == DONE) {
      report("the warp primitive in line %d names lane %u in its mask, which has already exited "
             "(thread %u, block %u,%u,%u)", thread.site.line, l, thread.linear, blockIdx.x,
             blockIdx.y, blockIdx.z);
      return false;
    }
    if (warp[l].state != AT_WARP_BARRIER || warp[l].mask != thread.mask) return false;
    if (warp[l].site.id != thread.site.id) return false;
  }
  return true;
}

// Where threads run forward, all warps go on together; where they run backward, one alone until it
// waits for the block; where they are shuffled, some of them.
inline void release_warps() {
  const uint64_t held = engine.kind == 1 ? ~0ull : engine.kind == 2 ? next_random() : 0;
  bool some = false;
  for (unsigned k = 0; k < engine.count && !engine.failed; k++) {
    const unsigned i = engine.order[k];
    Thread& first = engine.threads[i];
    if (first.state != AT_WARP_BARRIER || (some && held >> i / 32 & 1)) continue;
    Thread* warp = engine.threads + i / 32 * 32;
    const unsigned rest = engine.count - i / 32 * 32, lanes = rest < 32 ? rest : 32;
    if (!warp_is_complete(first, lanes)) continue;
    some = true;
    unsigned votes = 0;
    for (unsigned l = 0; l < lanes; l++)
      if (first.mask >> l & 1 && warp[l].mine) votes |= 1u << l;
    for (unsigned l = 0; l < lanes; l++) {
      if (!(first.mask >> l & 1)) continue;
      const unsigned s = warp[l].source;      // a lane outside the mask gives an undefined value
      warp[l].got = s < lanes && first.mask >> s & 1 ? warp[s].mine : ~0ull;
      warp[l].votes = votes;
    }
    for (unsigned l = 0; l < lanes; l++)
      if (first.mask >> l & 1) warp[l].state = READY;
  }
}

inline bool release_block() {
  unsigned votes = 0;
  for (unsigned i = 0; i < engine.count; i++) {
    const Thread& t = engine.threads[i];
    if (t.state != AT_BLOCK_BARRIER || t.site.id != engine.threads[0].site.id) return false;
    votes += t.mine != 0;
  }
  for (unsigned i = 0; i < engine.count; i++) {
    engine.threads[i].votes = votes;
    engine.threads[i].state = READY;
  }
  return true;
}

inline bool resume_ready() {
  bool moved = false;
  for (unsigned i = 0; i < engine.count && !engine.failed; i++) {
    Thread& thread = engine.threads[engine.order[i]];
    if (thread.state != READY) continue;
    resume(thread);
    moved = true;
  }
  return moved;
}

inline void prepare_block(int order) {
  memset(engine.shared, 0xff, engine.shared_bytes);
  memset(engine.dynamic, 0xff, engine.dynamic_bytes);
  memset(engine.dynamic + engine.dynamic_bytes, GUARD_BYTE, GUARD);
  const unsigned n = engine.count;
  for (unsigned i = 0; i < n; i++) {
    Thread& thread = engine.threads[i];
    thread.state = READY;
    thread.meetings = thread.copies = thread.groups = 0;
    engine.order[i] = order == 1 ? n - 1 - i : i;
  }
  if (order == 2)
    for (unsigned i = n - 1; i > 0; i--)
      std::swap(engine.order[i], engine.order[next_random() % (i + 1)]);
  engine.started = engine.workers = engine.finished = 0;
}

inline void run_block(int order) {
  prepare_block(order);
  while (engine.started < engine.count && !engine.failed) start_worker();
  while (engine.finished < engine.count && !engine.failed) {
    release_warps();
    if (!resume_ready() && !engine.failed && !release_block()) diagnose_stuck_block();
  }
  for (size_t i = 0; i < GUARD && !engine.failed; i++)
    if (static_cast<unsigned char>(engine.dynamic[engine.dynamic_bytes + i]) != GUARD_BYTE)
      report("a thread wrote beyond the dynamic shared memory of %zu bytes (block %u,%u,%u)",
             engine.dynamic_bytes, blockIdx.x, blockIdx.y, blockIdx.z);
  for (unsigned w = 0; w < engine.workers; w++)
    if (*reinterpret_cast<uint64_t*>(engine.stacks + w * STACK) != STACK_MARK)
      report("a thread's local variables need more than %zu bytes of stack", STACK);
}

// ----------------------------------------------------------------------------------------- launch

inline int find_shared(dl_phdr_info* info, size_t, void*) {
  const uintptr_t here = reinterpret_cast<uintptr_t>(&engine);
  const ElfW(Phdr)* tls = nullptr;
  bool ours = false;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr)& p = info->dlpi_phdr[i];
    const uintptr_t start = info->dlpi_addr + p.p_vaddr;
    if (p.p_type == PT_TLS) tls = &p;
    if (p.p_type == PT_LOAD && here >= start && here - start < p.p_memsz) ours = true;
  }
  if (!ours || !tls) return 0;
  engine.shared = static_cast<char*>(info->dlpi_tls_data);
  engine.shared_bytes = tls->p_memsz;
  return 1;
}

inline void* dynamic_shared() {
  if (!engine.dynamic) engine.dynamic = reserve(MAX_DYNAMIC + GUARD);
  return engine.dynamic;
}

inline uint64_t common_divisor(uint64_t a, uint64_t b) { return b ? common_divisor(b, a % b) : a; }

inline bool refuse(const unsigned* grid, const unsigned* block, size_t smem) {
  engine.failed = false;
  const uint64_t threads = uint64_t(block[0]) * block[1] * block[2];
  if (!threads || threads > MAX_THREADS || block[2] > 64)
    report("invalid block (%u, %u, %u): a block has 1 to %u threads, and at most 64 along z",
           block[0], block[1], block[2], MAX_THREADS);
  else if (!grid[0] || !grid[1] || !grid[2] || grid[0] >> 31 || grid[1] > 65535 || grid[2] > 65535)
    report("invalid grid (%u, %u, %u): each extent is at least 1; y and z at most 65535", grid[0],
           grid[1], grid[2]);
  else if (smem > MAX_DYNAMIC)
    report("%zu bytes of dynamic shared memory; a block has at most %zu", smem, MAX_DYNAMIC);
  return engine.failed;
}

// order: 0 forward, 1 reversed, 2 shuffled; of the threads in a block and the blocks in the grid.
inline int launch(const Kernel& kernel, const unsigned* grid, const unsigned* block, size_t smem,
                  void** args, int order, uint64_t seed) {
  if (refuse(grid, block, smem)) return 1;
  asm volatile("" ::"r"(&tls_anchor));        // makes this OS thread's copy exist
  dynamic_shared();
  dl_iterate_phdr(find_shared, nullptr);
  engine.kernel = &kernel;
  engine.args = args;
  engine.dynamic_bytes = smem;
  engine.random = seed;
  engine.kind = order;
  engine.count = block[0] * block[1] * block[2];
  gridDim = dim3(grid[0], grid[1], grid[2]);
  blockDim = dim3(block[0], block[1], block[2]);
  for (unsigned i = 0; i < engine.count; i++) {
    engine.threads[i].linear = i;
    engine.threads[i].index = {i % block[0], i / block[0] % block[1], i / (block[0] * block[1])};
  }
  const uint64_t blocks = uint64_t(grid[0]) * grid[1] * grid[2];
  uint64_t step = order == 2 ? next_random() % blocks + 1 : 1;
  while (common_divisor(step, blocks) != 1) step++;
  for (uint64_t i = 0; i < blocks && !engine.failed; i++) {
    const uint64_t at = order == 1 ? blocks - 1 - i : (unsigned __int128)i * step % blocks;
    blockIdx = {unsigned(at % grid[0]), unsigned(at / grid[0] % grid[1]),
                unsigned(at / grid[0] / grid[1])};
    run_block(order);
  }
  return engine.failed;
}

// One word a parameter: "p" for a pointer or "s" for a scalar, the kind of value in NumPy's letters
// (f i u b, e half, E bfloat16, V anything else), the bytes of one value: "pf4 si8" (float*, long).
template <class T, class = void> struct Kind {
  static constexpr char value = std::is_same_v<T, bool>     ? 'b'
                                : std::is_floating_point_v<T> ? 'f'
                                : !std::is_integral_v<T>      ? 'V'
                                : std::is_signed_v<T>         ? 'i'
                                                              : 'u';
};
template <class T> struct Kind<T, std::void_t<decltype(T::numpy_kind)>> {
  static constexpr char value = T::numpy_kind;
};

template <class A> int describe(char* out, size_t space) {
  constexpr bool pointer = std::is_pointer_v<A>;
  using T = std::remove_cv_t<std::remove_pointer_t<A>>;
  using Value = std::conditional_t<std::is_void_v<T>, uint3, T>;
  const int bytes = std::is_void_v<T> ? 0 : int(sizeof(Value));
  return snprintf(out, space, "%c%c%d ", pointer ? 'p' : 's', Kind<Value>::value, bytes);
}

template <class... A, size_t... I>
void call(void (*function)(A...), void** args, std::index_sequence<I...>) {
  function(*static_cast<std::remove_reference_t<A>*>(args[I])...);
}

template <class... A> Kernel make_kernel(void (*function)(A...)) {
  static char words[16 * sizeof...(A) + 1];
  char* out = words;
  ((out += describe<A>(out, 16)), ...);
  return {reinterpret_cast<void (*)()>(function),
          [](void (*f)(), void** args) {
            call(reinterpret_cast<void (*)(A...)>(f), args, std::index_sequence_for<A...>{});
          },
          words};
}

// ----------------------------------------------------------------- barriers and warp primitives

inline unsigned block_barrier(Site site, bool vote = false) {
  engine.current->mine = vote;
  wait(AT_BLOCK_BARRIER, site);
  return engine.current->votes;
}

inline void warp_barrier(Site site, unsigned mask, uint64_t mine = 0, unsigned source = 0) {
  Thread& me = *engine.current;
  if (!(mask >> me.linear % 32 & 1))
    fail("the mask of a warp primitive lacks the caller", site.line);
  me.mask = mask;
  me.mine = mine;
  me.source = source;
  wait(AT_WARP_BARRIER, site);
}

template <class T> T exchange(Site site, unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "a shuffle moves up to 8 bytes");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  warp_barrier(site, mask, bits, source);
  T result;
  memcpy(&result, &engine.current->got, sizeof result);
  return result;
}

inline unsigned lane() { return engine.current->linear % 32; }

template <class T> T shfl(Site site, unsigned mask, T value, int source, int width = 32) {
  return exchange(site, mask, value, (lane() & ~(width - 1)) | (source & (width - 1)));
}

template <class T> T shfl_xor(Site site, unsigned mask, T value, int bits, int width = 32) {
  const unsigned l = lane(), source = l ^ bits;
  return exchange(site, mask, value, source / width > l / width ? l : source);
}

template <class T> T shfl_down(Site site, unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned l = lane(), source = l + delta;
  return exchange(site, mask, value, source / width != l / width ? l : source);
}

template <class T> T shfl_up(Site site, unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned l = lane();
  return exchange(site, mask, value, (l & (width - 1)) < delta ? l : l - delta);
}

inline unsigned ballot(Site site, unsigned mask, bool vote) {
  warp_barrier(site, mask, vote);
  return engine.current->votes;
}

}  // namespace cudacpu

#include "cuda_builtins.h"
#include "cuda_mma.h"
#include "cuda_sanitize.h"
