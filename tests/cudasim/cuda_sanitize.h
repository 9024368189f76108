// cuda_sanitize.h - the handlers that code built with -fsanitize=... calls, in place of libubsan's:
// a finding ends the launch with an error message instead of a line on stderr. Unused otherwise.
#pragma once

namespace cudacpu {
struct Finding { const char* file; unsigned line, column; };   // the start of every record of GCC
}  // namespace cudacpu

#define CUDACPU_HANDLER(NAME, WHAT, ...) \
  extern "C" __attribute__((used, visibility("hidden"))) void __ubsan_handle_##NAME( \
      cudacpu::Finding* at, ##__VA_ARGS__) { \
    cudacpu::fail(WHAT, at->line); \
  }

CUDACPU_HANDLER(out_of_bounds, "array index out of bounds", void*)
CUDACPU_HANDLER(shift_out_of_bounds, "shift by too many bits", void*, void*)
CUDACPU_HANDLER(add_overflow, "signed integer overflow in an addition", void*, void*)
CUDACPU_HANDLER(sub_overflow, "signed integer overflow in a subtraction", void*, void*)
CUDACPU_HANDLER(mul_overflow, "signed integer overflow in a multiplication", void*, void*)
CUDACPU_HANDLER(negate_overflow, "signed integer overflow in a negation", void*)
CUDACPU_HANDLER(divrem_overflow, "integer division by zero, or overflow", void*, void*)
CUDACPU_HANDLER(type_mismatch_v1, "misaligned or null pointer", void*)
#undef CUDACPU_HANDLER
