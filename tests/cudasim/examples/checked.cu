// checked.cu - kernels with mistakes that only a build with sanitize=True reports.
template <class T> __global__ void shared_overrun(T* y, int at) {
  __shared__ T s[64];
  s[threadIdx.x + at] = 1;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
extern "C" __global__ void misaligned(float* y, int at) {
  *reinterpret_cast<float4*>(y + at) = make_float4(1.f, 2.f, 3.f, 4.f);
}
extern "C" __global__ void overflow(int* y, int at) { y[0] = at * 1000000; }
extern "C" __global__ void shift(int* y, int at) { y[0] = 1 << at; }
extern "C" __global__ void divide(int* y, int at) { y[0] = 100 / at; }
