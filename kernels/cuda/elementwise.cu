// elementwise.cu - the scalar functions of scalars.cuh mapped over one array or two.
#include "maps.cuh"
#include "scalars.cuh"

// F of each element and a scalar: `value`, or *number where it is on the device.
template <class F, class T, int V>
__global__ void with_number(const T* __restrict__ x, const T* __restrict__ number,
                            T* __restrict__ y, Index n, Wide<T> value, int on_device) {
  const Wide<T> b = on_device ? load(number, 0) : value;
  for (Index i = first() * V; i < n; i += stride() * V) {
    auto pack = load_pack<V>(x + i);
    for (int e = 0; e < V; e++) pack.at[e] = T(F::of(Wide<T>(pack.at[e]), b, b));
    store_pack(y + i, pack);
  }
}

// F of x and a row that is broadcast over it; n is a multiple of the row. One division finds a
// thread's offset in the row; it then advances by the stride modulo the row.
template <class F, class T, int V>
__global__ void with_row(const T* __restrict__ x, const T* __restrict__ row, T* __restrict__ y,
                         Index n, Index width) {
  const Index step = stride() * V % width;
  Index column = first() * V % width;
  for (Index i = first() * V; i < n; i += stride() * V) {
    auto pack = load_pack<V>(x + i);
    const auto bs = load_pack<V>(row + column);
    for (int e = 0; e < V; e++) {
      const Wide<T> b = Wide<T>(bs.at[e]);
      pack.at[e] = T(F::of(Wide<T>(pack.at[e]), b, b));
    }
    store_pack(y + i, pack);
    column += step;
    if (column >= width) column -= width;
  }
}
