// vectors.cuh - several numbers at a time: a thread moves up to 16 bytes in one instruction.
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

// May packs of 16 bytes be read and written here? Arrays of the pool may, views need not.
__device__ __forceinline__ bool aligned(const void* x) {
  return reinterpret_cast<unsigned long long>(x) % 16 == 0;
}
