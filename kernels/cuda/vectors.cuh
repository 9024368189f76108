// vectors.cuh - 16 bytes at a time: the most that a thread moves in one instruction.
#include "common.cuh"

template <class T> struct alignas(16) Pack {
  static constexpr int size = 16 / int(sizeof(T));
  T at[size];
};

template <class T> __device__ __forceinline__ Pack<T> load_pack(const T* x) {
  return *reinterpret_cast<const Pack<T>*>(x);
}
template <class T> __device__ __forceinline__ void store_pack(T* x, const Pack<T>& pack) {
  *reinterpret_cast<Pack<T>*>(x) = pack;
}

// May packs be read and written here? Arrays of the pool may, views into them need not.
__device__ __forceinline__ bool aligned(const void* x) {
  return reinterpret_cast<unsigned long long>(x) % 16 == 0;
}
