// cublaslt.cpp - a stand-in for libcublasLt: the functions that kernels/cuda/cublas.py calls, on
// memory of the CPU, in plain loops over what the descriptors say. Strict where the library would
// compute nonsense or stop a GPU: wrong kinds of descriptors, sizes of attributes, pointers less
// aligned than was promised, an algorithm that was found for another product.
#include "cuda_bf16.h"
#include "cuda_fp16.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { FLOAT = 0, DOUBLE = 1, HALF = 2, BFLOAT16 = 14 };
enum { COMPUTE_32F = 68, COMPUTE_64F = 70, COMPUTE_TF32 = 77 };
enum { DEFAULT = 1, BIAS = 4, GELU_AUX = 160, GELU_AUX_BIAS = 164, BGRADA = 256 };

// What tests ask about. `refuse` is a status to fail with.
struct Record {
  int searches, calls, live, compute, refuse;
  unsigned scheme, alignment;
  const void *stream, *workspace;
};
EXPORT Record record;
Record record;

enum Kind { OPERATION = 0x0b1, LAYOUT, PREFERENCE };

struct Operation {
  Kind kind;
  int compute, scale;
  int turned[2];
  unsigned epilogue;
  void *bias, *aux;
  long aux_ld;
};
struct Layout {
  Kind kind;
  int type;
  unsigned long rows, columns;
  long ld;
  int count;
  long step;
};
struct Preference {
  Kind kind;
  unsigned scheme, alignment[4];
  unsigned long workspace;
};

struct Attribute {
  int name;
  void* at;
  size_t size;
  template <class T> Attribute(int name, T& value) : name(name), at(&value), size(sizeof value) {}
};

template <size_t N>
static int set(const Attribute (&known)[N], int name, const void* value, size_t size) {
  for (const Attribute& a : known)
    if (a.name == name && a.size == size) {
      memcpy(a.at, value, size);
      return SUCCESS;
    }
  return INVALID_VALUE;
}

template <class D> static int make(D** made, D value) {
  *made = new D(value);
  record.live++;
  return SUCCESS;
}

template <class D> static int destroy(D* of, Kind kind) {
  if (!of || of->kind != kind) return INVALID_VALUE;
  of->kind = Kind(0);
  delete of;
  record.live--;
  return SUCCESS;
}

EXPORT int cublasLtCreate(void** handle) {
  *handle = &record;
  return SUCCESS;
}
EXPORT const char* cublasLtGetStatusName(int status) {
  return status == NOT_SUPPORTED   ? "CUBLAS_STATUS_NOT_SUPPORTED"
         : status == INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
                                   : "CUBLAS_STATUS_EXECUTION_FAILED";
}
EXPORT const char* cublasLtGetStatusString(int) { return "so says the stand-in"; }

EXPORT int cublasLtMatmulDescCreate(Operation** made, int compute, int scale) {
  return make(made, Operation{OPERATION, compute, scale, {0, 0}, DEFAULT, nullptr, nullptr, 0});
}
EXPORT int cublasLtMatmulDescSetAttribute(Operation* of, int name, const void* v, size_t size) {
  if (!of || of->kind != OPERATION) return INVALID_VALUE;
  const Attribute known[] = {{3, of->turned[0]}, {4, of->turned[1]}, {7, of->epilogue},
                            {8, of->bias},      {11, of->aux},      {12, of->aux_ld}};
  return set(known, name, v, size);
}
EXPORT int cublasLtMatmulDescDestroy(Operation* of) { return destroy(of, OPERATION); }
EXPORT int cublasLtMatrixLayoutCreate(Layout** made, int type, unsigned long rows,
                                      unsigned long columns, long ld) {
  return make(made, Layout{LAYOUT, type, rows, columns, ld, 1, 0});
}
EXPORT int cublasLtMatrixLayoutSetAttribute(Layout* of, int name, const void* v, size_t size) {
  if (!of || of->kind != LAYOUT) return INVALID_VALUE;
  const Attribute known[] = {{5, of->count}, {6, of->step}};
  return set(known, name, v, size);
}
EXPORT int cublasLtMatrixLayoutDestroy(Layout* of) { return destroy(of, LAYOUT); }
EXPORT int cublasLtMatmulPreferenceCreate(Preference** made) {
  return make(made, Preference{PREFERENCE, 7, {256, 256, 256, 256}, 0});
}
EXPORT int cublasLtMatmulPreferenceSetAttribute(Preference* of, int name, const void* v,
                                                size_t size) {
  if (!of || of->kind != PREFERENCE) return INVALID_VALUE;
  unsigned* to = of->alignment;
  const Attribute known[] = {{1, of->workspace}, {3, of->scheme}, {5, to[0]},
                            {6, to[1]},         {7, to[2]},      {8, to[3]}};
  return set(known, name, v, size);
}
EXPORT int cublasLtMatmulPreferenceDestroy(Preference* of) { return destroy(of, PREFERENCE); }

struct Algorithm {
  unsigned long sizes[4];
  unsigned long aligned[3];
  unsigned long workspace;
  bool same(const Algorithm& other) const {
    return !memcmp(sizes, other.sizes, sizeof sizes);
  }
};
static_assert(sizeof(Algorithm) == 64);
struct Found {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Found) == 96);

static bool aligned(const void* pointer, unsigned long to) {
  return pointer && (unsigned long)pointer % to == 0;
}

// Whether the descriptors are those of a product; its sizes, and all else that makes it another.
static int describe(const Operation* o, const Layout* a, const Layout* b, const Layout* c,
                    const Layout* d, Algorithm& of) {
  if (!o || o->kind != OPERATION) return INVALID_VALUE;
  for (const Layout* x : {a, b, c, d}) {
    if (!x || x->kind != LAYOUT || x->type != a->type || x->count != a->count) return INVALID_VALUE;
    if (x->ld < long(x->rows) || x->count < 1 || !x->rows || !x->columns) return INVALID_VALUE;
  }
  const unsigned long m = d->rows, n = d->columns, k = o->turned[0] ? a->rows : a->columns;
  if ((o->turned[0] ? a->columns : a->rows) != m || (o->turned[1] ? b->rows : b->columns) != n ||
      (o->turned[1] ? b->columns : b->rows) != k || c != d)
    return INVALID_VALUE;
  if (d->count > 1 && d->step < d->ld * long(n - 1) + long(m)) return INVALID_VALUE;
  const bool wide = a->type == DOUBLE;
  if (o->compute != (wide ? COMPUTE_64F : COMPUTE_32F) &&
      !(a->type == FLOAT && o->compute == COMPUTE_TF32))
    return NOT_SUPPORTED;
  if (o->scale != (wide ? DOUBLE : FLOAT) || a->count > 65535) return NOT_SUPPORTED;
  if (o->epilogue != DEFAULT) {
    if (wide || a->count > 1) return NOT_SUPPORTED;
    if (o->epilogue == BGRADA && o->turned[0]) return NOT_SUPPORTED;
    if (o->epilogue != GELU_AUX && !o->bias) return INVALID_VALUE;
    if (o->epilogue == GELU_AUX || o->epilogue == GELU_AUX_BIAS) {
      if (!o->aux || o->aux_ld % 8 || o->aux_ld < long(m)) return INVALID_VALUE;
    } else if (o->epilogue != BIAS && o->epilogue != BGRADA) {
      return NOT_SUPPORTED;
    }
  }
  of = {{m, n, k, (unsigned long)o->epilogue << 32 | o->compute << 8 | a->type}, {}, 0};
  return SUCCESS;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void* handle, Operation* o, Layout* a, Layout* b,
                                          Layout* c, Layout* d, Preference* p, int wanted,
                                          Found* found, int* count) {
  record.searches++;
  if (handle != &record || !p || p->kind != PREFERENCE || wanted < 1) return INVALID_VALUE;
  const int wrong = describe(o, a, b, c, d, found->algorithm);
  if (wrong == INVALID_VALUE) return wrong;
  *count = wrong ? 0 : 1;   // the library says so in either way: by a status, or by finding none
  found->state = SUCCESS;
  found->algorithm.workspace = found->workspace = 1024;
  const unsigned* to = p->alignment;
  for (int i = 0; i < 3; i++) found->algorithm.aligned[i] = to[i < 2 ? i : 3];
  record.scheme = p->scheme;
  record.alignment = p->alignment[0];
  return p->workspace < 1024 ? NOT_SUPPORTED : SUCCESS;
}

static float tf32(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu); }

template <class T, class A>
static void multiply(const Operation& o, const Layout& a, const Layout& b, const Layout& d,
                     A alpha, const T* left, const T* right, T* out) {
  const long m = d.rows, n = d.columns, k = o.turned[0] ? a.rows : a.columns;
  const long a_row = o.turned[0] ? a.ld : 1, a_column = o.turned[0] ? 1 : a.ld;
  const long b_row = o.turned[1] ? b.ld : 1, b_column = o.turned[1] ? 1 : b.ld;
  const bool fast = o.compute == COMPUTE_TF32;
  const T* bias = (const T*)o.bias;
  T* aux = (T*)o.aux;
  for (long z = 0; z < d.count; z++, left += a.step, right += b.step, out += d.step)
    for (long j = 0; j < n; j++)
      for (long i = 0; i < m; i++) {
        A sum = 0;
        for (long l = 0; l < k; l++) {
          A x = A(left[i * a_row + l * a_column]), y = A(right[l * b_row + j * b_column]);
          if (fast) x = tf32(x), y = tf32(y);
          sum += x * y;
        }
        sum *= alpha;
        if (o.epilogue == BIAS || o.epilogue == GELU_AUX_BIAS) sum += A(bias[i]);
        if (o.epilogue == GELU_AUX || o.epilogue == GELU_AUX_BIAS) {
          aux[i + j * o.aux_ld] = T(sum);
          sum *= 0.5 * (1 + tanh(0.7978845608028654 * (sum + 0.044715 * sum * sum * sum)));
        }
        out[i + j * d.ld] = T(sum);
      }
  if (o.epilogue == BGRADA)
    for (long i = 0; i < m; i++) {
      A sum = 0;
      for (long l = 0; l < k; l++) sum += A(left[i * a_row + l * a_column]);
      ((T*)o.bias)[i] = T(sum);
    }
}

EXPORT int cublasLtMatmul(void* handle, Operation* o, const void* alpha, const void* left,
                          Layout* a, const void* right, Layout* b, const void* beta,
                          const void* in, Layout* c, void* out, Layout* d,
                          const Algorithm* algorithm, void* workspace, size_t size,
                          void* stream) {
  Algorithm wanted;
  if (record.refuse) return record.refuse;
  if (handle != &record || describe(o, a, b, c, d, wanted) || !algorithm) return INVALID_VALUE;
  if (!algorithm->same(wanted) || size < algorithm->workspace || !aligned(workspace, 256))
    return INVALID_VALUE;
  if (!aligned(left, algorithm->aligned[0]) || !aligned(right, algorithm->aligned[1]) ||
      !aligned(out, algorithm->aligned[2]) || in != out)
    return INVALID_VALUE;
  memset(workspace, 0xa5, 64);
  memset((char*)workspace + size - 64, 0xa5, 64);
  record.calls++;
  record.compute = o->compute;
  record.stream = stream;
  record.workspace = workspace;
  if (a->type == DOUBLE) {
    if (*(const double*)beta != 0) return NOT_SUPPORTED;
    multiply(*o, *a, *b, *d, *(const double*)alpha, (const double*)left, (const double*)right,
             (double*)out);
    return SUCCESS;
  }
  const float factor = *(const float*)alpha;
  if (*(const float*)beta != 0) return NOT_SUPPORTED;
  if (a->type == FLOAT)
    multiply(*o, *a, *b, *d, factor, (const float*)left, (const float*)right, (float*)out);
  else if (a->type == HALF)
    multiply(*o, *a, *b, *d, factor, (const __half*)left, (const __half*)right, (__half*)out);
  else
    multiply(*o, *a, *b, *d, factor, (const __nv_bfloat16*)left, (const __nv_bfloat16*)right,
             (__nv_bfloat16*)out);
  return SUCCESS;
}
