// channel_norm.cuh - norms with a weight for each channel, of images (images, channels, hw): batch
// and group norm. Reductions take two passes: partial sums of parts of a plane, or of columns where
// planes are small, and then the sum of those, which are (outer, channels, inner).
#include "column_sums.cuh"
#include "vectors.cuh"

// The image, channel and offset of element i, for grid-stride loops that advance without dividing.
struct Position {
  Index image, channel, at;
  __device__ Position(Index i, Index step, Index channels, Index hw)
      : image(i / hw / channels), channel(i / hw % channels), at(i % hw), channels(channels),
        hw(hw), by_image(step / hw / channels), by_channel(step / hw % channels),
        by_at(step % hw) {}
  __device__ __forceinline__ void next() {
    at += by_at;
    channel += by_channel;
    image += by_image;
    if (at >= hw) at -= hw, channel++;
    if (channel >= channels) channel -= channels, image++;
  }

 private:
  const Index channels, hw, by_image, by_channel, by_at;
};

// Which statistics belong to a channel: those of its group of `together` in its image, or where
// that is 0 its own, of all images.
__device__ __forceinline__ Index statistics_of(Index image, Index channel, Index channels,
                                               Index together) {
  if (!together) return channel;
  return image * (unsigned(channels) / unsigned(together)) + unsigned(channel) / unsigned(together);
}

__device__ __forceinline__ Index at_most(Index n, Index most) { return n < most ? n : most; }

// ---------------------------------------------------------------------------------- sums of parts

// Mean and sum of squared deviations from it, of `per` elements of a plane. Means are those of the
// differences to the channel's first number, so that large ones leave their digits to the variance.
template <class T, int V>
__global__ void plane_statistics(const T* __restrict__ x, Wide<T>* __restrict__ means,
                                 Wide<T>* __restrict__ squares, Index planes, Index channels,
                                 Index hw, Index inner, Index per) {
  using A = Wide<T>;
  for (Index r = first_row(); r < planes * inner; r += row_stride()) {
    const Index begin = r % inner * per, n = at_most(hw - begin, per);
    const T* row = x + r / inner * hw + begin;
    const A first = load(x, r / inner % channels * hw);
    A sum = 0;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) sum += A(pack.at[e]) - first;
    }
    const A mu = over_row<Sum>(sum) / A(n);
    sum = 0;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto pack = load_pack<V>(row + j);
      for (int e = 0; e < V; e++) {
        const A centred = (A(pack.at[e]) - first) - mu;
        sum += centred * centred;
      }
    }
    sum = over_row<Sum>(sum);
    if (threadIdx.x) continue;
    means[r] = mu;
    squares[r] = sum;
  }
}

// The same of `per` rows of a column.
template <class T>
__global__ void column_statistics(const T* __restrict__ x, Wide<T>* __restrict__ means,
                                  Wide<T>* __restrict__ squares, Index rows, Index n, Index hw,
                                  Index per) {
  using A = Wide<T>;
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  const Index begin = blockIdx.y * per, end = at_most(rows, begin + per);
  const A first = j < n ? load(x, j / hw * hw) : A(0);
  A sum = 0;
  if (j < n)
    for (Index i = begin + threadIdx.y; i < end; i += 8) sum += load(x, i * n + j) - first;
  const A mu = over_column<8>(sum) / A(end - begin);
  sum = 0;
  if (j < n)
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      const A centred = (load(x, i * n + j) - first) - mu;
      sum += centred * centred;
    }
  store_part(sum, squares, n);
  if (threadIdx.y == 0 && j < n) means[blockIdx.y * n + j] = mu;
}

// The sums of g and of g * normal(x), of `per` numbers of a plane.
template <class T, int V>
__global__ void plane_sums(const T* __restrict__ g, const T* __restrict__ x,
                           const Wide<T>* __restrict__ mean, const Wide<T>* __restrict__ rstd,
                           Wide<T>* __restrict__ sums, Wide<T>* __restrict__ alongs, Index planes,
                           Index channels, Index hw, Index together, Index inner, Index per) {
  using A = Wide<T>;
  for (Index r = first_row(); r < planes * inner; r += row_stride()) {
    const Index plane = r / inner, begin = r % inner * per, n = at_most(hw - begin, per);
    const Index s = statistics_of(plane / channels, plane % channels, channels, together);
    const Index from = plane * hw + begin;
    const A mu = mean[s], scale = rstd[s];
    A sum = 0, along = 0;
    for (Index j = threadIdx.x * V; j < n; j += blockDim.x * V) {
      const auto gs = load_pack<V>(g + from + j), xs = load_pack<V>(x + from + j);
      for (int e = 0; e < V; e++) {
        sum += A(gs.at[e]);
        along += A(gs.at[e]) * ((A(xs.at[e]) - mu) * scale);
      }
    }
    sum = over_row<Sum>(sum);
    along = over_row<Sum>(along);
    if (threadIdx.x) continue;
    sums[r] = sum;
    alongs[r] = along;
  }
}

// The same of `per` rows of a column, with `hw` neighbouring columns to a channel.
template <class T>
__global__ void column_sums(const T* __restrict__ g, const T* __restrict__ x,
                            const Wide<T>* __restrict__ mean, const Wide<T>* __restrict__ rstd,
                            Wide<T>* __restrict__ sums, Wide<T>* __restrict__ alongs, Index rows,
                            Index n, Index hw, Index per) {
  using A = Wide<T>;
  const Index j = blockIdx.x * Index(32) + threadIdx.x;
  const Index begin = blockIdx.y * per, end = at_most(rows, begin + per);
  A sum = 0, along = 0;
  if (j < n) {
    const A mu = mean[j / hw], scale = rstd[j / hw];
    for (Index i = begin + threadIdx.y; i < end; i += 8) {
      const A grad = load(g, i * n + j);
      sum += grad;
      along += grad * ((load(x, i * n + j) - mu) * scale);
    }
  }
  store_part(sum, sums, n);
  store_part(along, alongs, n);
}

// ----------------------------------------------------------------------------- sums of those sums
// Blocks of (32, 32): a column of threads for each channel, or where there are more than 1024 parts
// all threads of a block.

struct Team {
  const bool whole;                           // the block, for one channel
  const Index channel, begin, step;
  __device__ explicit Team(Index parts)
      : whole(parts > 1024),
        channel(whole ? blockIdx.x : blockIdx.x * Index(32) + threadIdx.x),
        begin(whole ? threadIdx.y * 32 + threadIdx.x : threadIdx.y), step(whole ? 1024 : 32) {}
  template <class A> __device__ __forceinline__ A sum(A mine) const {
    mine = over_column<32>(mine);
    return whole ? over_row<Sum>(mine) : mine;
  }
  __device__ __forceinline__ bool writes() const {
    return threadIdx.y == 0 && !(whole && threadIdx.x);
  }
};

// Parts are of `per` elements of `whole`, the last of the rest: those along the outer axis, or
// those along the inner. Variances are merged as in Chan et al. 1979.
template <class T>
__global__ void finish_statistics(const T* __restrict__ x, const Wide<T>* __restrict__ means,
                                  const Wide<T>* __restrict__ squares, Wide<T>* __restrict__ mean,
                                  Wide<T>* __restrict__ rstd, Index outer, Index channels,
                                  Index hw, Index inner, Index per, Index whole, int along_outer,
                                  Index count, Wide<T> eps) {
  using A = Wide<T>;
  const Team team(outer * inner);
  const Index c = team.channel, parts = c < channels ? outer * inner : 0;
  A sum = 0;
  for (Index i = team.begin; i < parts; i += team.step) {
    const Index o = i / inner, k = i % inner, at = (o * channels + c) * inner + k;
    sum += A(at_most(whole - (along_outer ? o : k) * per, per)) * means[at];
  }
  const A mu = team.sum(sum) / A(count);
  sum = 0;
  for (Index i = team.begin; i < parts; i += team.step) {
    const Index o = i / inner, k = i % inner, at = (o * channels + c) * inner + k;
    const A n = A(at_most(whole - (along_outer ? o : k) * per, per)), apart = means[at] - mu;
    sum += squares[at] + n * apart * apart;
  }
  sum = team.sum(sum);
  if (!team.writes() || c >= channels) return;
  mean[c] = load(x, c * hw) + mu;
  rstd[c] = A(1) / m::sqrt(sum / A(count) + eps);
}

// Gradients of weight and bias, and where statistics were taken of channels the means of
// gn = g * weight and of gn * normal(x) over the `count` numbers of each.
template <class T>
__global__ void finish_sums(const Wide<T>* __restrict__ sums, const Wide<T>* __restrict__ alongs,
                            const T* __restrict__ weight, T* __restrict__ gweight,
                            T* __restrict__ gbias, Wide<T>* __restrict__ of_gn,
                            Wide<T>* __restrict__ of_normal, Index outer, Index channels,
                            Index inner, Index count, int has_weight, int of_channels) {
  using A = Wide<T>;
  const Team team(outer * inner);
  const Index c = team.channel, parts = c < channels ? outer * inner : 0;
  A sum = 0, along = 0;
  for (Index i = team.begin; i < parts; i += team.step) {
    const Index at = (i / inner * channels + c) * inner + i % inner;
    sum += sums[at];
    along += alongs[at];
  }
  sum = team.sum(sum);
  along = team.sum(along);
  if (!team.writes() || c >= channels) return;
  store(gweight, c, along);
  store(gbias, c, sum);
  if (!of_channels) return;
  const A scale = (has_weight ? load(weight, c) : A(1)) / A(count);
  of_gn[c] = sum * scale;
  of_normal[c] = along * scale;
}

// The same means over the groups of `together` channels of each image, a team for each group.
template <class T>
__global__ void group_means(const Wide<T>* __restrict__ sums, const Wide<T>* __restrict__ alongs,
                            const T* __restrict__ weight, Wide<T>* __restrict__ of_gn,
                            Wide<T>* __restrict__ of_normal, Index rows, Index groups,
                            Index together, Index inner, Index count, int has_weight) {
  using A = Wide<T>;
  for (Index r = first_row(); r < rows; r += row_stride()) {
    const Index n = together * inner;
    A sum = 0, along = 0;
    for (Index j = threadIdx.x; j < n; j += blockDim.x) {
      const A w = has_weight ? load(weight, r % groups * together + j / inner) : A(1);
      sum += w * sums[r * n + j];
      along += w * alongs[r * n + j];
    }
    sum = over_row<Sum>(sum);
    along = over_row<Sum>(along);
    if (threadIdx.x) continue;
    of_gn[r] = sum / A(count);
    of_normal[r] = along / A(count);
  }
}

// ------------------------------------------------------------------------------------ every number

template <class T, int V>
__global__ void normalise(const T* __restrict__ x, const Wide<T>* __restrict__ mean,
                          const Wide<T>* __restrict__ rstd, const T* __restrict__ weight,
                          const T* __restrict__ bias, T* __restrict__ y, Index size, Index channels,
                          Index hw, int has_weight, int has_bias) {
  using A = Wide<T>;
  Position place(first() * V, stride() * V, channels, hw);
  for (Index i = first() * V; i < size; i += stride() * V, place.next()) {
    const Index c = place.channel;
    const A mu = mean[c], scale = rstd[c], w = has_weight ? load(weight, c) : A(1);
    const A b = has_bias ? load(bias, c) : A(0);
    auto pack = load_pack<V>(x + i);
    for (int e = 0; e < V; e++) pack.at[e] = T((A(pack.at[e]) - mu) * scale * w + b);
    store_pack(y + i, pack);
  }
}

template <class T, int V>
__global__ void channel_affine(const T* __restrict__ x, const T* __restrict__ scale,
                               const T* __restrict__ shift, T* __restrict__ y, Index size,
                               Index channels, Index hw, int has_scale, int has_shift) {
  using A = Wide<T>;
  Position place(first() * V, stride() * V, channels, hw);
  for (Index i = first() * V; i < size; i += stride() * V, place.next()) {
    const A a = has_scale ? load(scale, place.channel) : A(1);
    const A b = has_shift ? load(shift, place.channel) : A(0);
    auto pack = load_pack<V>(x + i);
    for (int e = 0; e < V; e++) pack.at[e] = T(A(pack.at[e]) * a + b);
    store_pack(y + i, pack);
  }
}

// The gradient of x, from the means of gn = g * weight and of gn * normal(x).
template <class T, int V>
__global__ void normalise_grad(const T* __restrict__ g, const T* __restrict__ x,
                               const T* __restrict__ weight, const Wide<T>* __restrict__ mean,
                               const Wide<T>* __restrict__ rstd, const Wide<T>* __restrict__ of_gn,
                               const Wide<T>* __restrict__ of_normal, T* __restrict__ gx,
                               Index size, Index channels, Index hw, Index together,
                               int has_weight) {
  using A = Wide<T>;
  Position place(first() * V, stride() * V, channels, hw);
  for (Index i = first() * V; i < size; i += stride() * V, place.next()) {
    const Index s = statistics_of(place.image, place.channel, channels, together);
    const A w = has_weight ? load(weight, place.channel) : A(1);
    const A mu = mean[s], scale = rstd[s], sum = of_gn[s], along = of_normal[s];
    auto pack = load_pack<V>(g + i);
    const auto xs = load_pack<V>(x + i);
    for (int e = 0; e < V; e++) {
      const A normal = (A(xs.at[e]) - mu) * scale;
      pack.at[e] = T(scale * (A(pack.at[e]) * w - sum - normal * along));
    }
    store_pack(gx + i, pack);
  }
}

// Moves running statistics by `momentum` of the way; `unbiased` is count / (count - 1).
template <class T>
__global__ void update_running(T* running_mean, T* running_var, const Wide<T>* __restrict__ mean,
                               const Wide<T>* __restrict__ rstd, Index n, Wide<T> momentum,
                               Wide<T> eps, Wide<T> unbiased) {
  using A = Wide<T>;
  for (Index i = first(); i < n; i += stride()) {
    const A before = load(running_mean, i), var_before = load(running_var, i);
    const A var = (A(1) / (rstd[i] * rstd[i]) - eps) * unbiased;
    store(running_mean, i, before + momentum * (mean[i] - before));
    store(running_var, i, var_before + momentum * (var - var_before));
  }
}
