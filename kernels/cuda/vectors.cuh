// vectors.cuh - vectorised loads and stores: a thread moves up to 16 bytes in one instruction.
#include "common.cuh"

template <class T, int V = 16 / int(sizeof(T))> struct alignas(V * sizeof(T)) Pack {
  static constexpr int size = V;
  T at[V];
};

template <int V, class T> __device__ __forceinline__ Pack<T, V> load_pack(const T* x) {
  return *reinterpret_cast<const Pack<T, V>*>(x);
}
template <class T, int V> __device__ __forceinline__ void store_pack(T* x, const Pack<T, V>& pack) {
  *reinterpret_cast<Pack<T, V>*>(x) = pack;
}

// Is x aligned to 16 bytes, as packs must be? Arrays from the memory pool are, views need not be.
__device__ __forceinline__ bool aligned(const void* x) {
  return reinterpret_cast<unsigned long long>(x) % 16 == 0;
}
