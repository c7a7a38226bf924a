/*
 * guard.h: the frame around the body of every row: nothing thrown leaves the library, and a dtype becomes a type.
 * GATUN_ISA is the instruction set that the including file is compiled for; it names the namespace, so that the same source
 * compiled for another instruction set never shares a symbol with this one.
 */
#ifndef GATUN_GUARD_H
#define GATUN_GUARD_H

#include "checks.h"
#include "gatun_kernels.h"
#include "simd.h"

namespace gatun::GATUN_ISA {

/** Runs body; returns GATUN_OK, or the status of what it threw with the text kept for last_error(). */
template <class Body>
int32_t guarded(const char *row, Body &&body) noexcept {
  try {
    body();
    return GATUN_OK;
  } catch (...) {
    return remember_failure(row);
  }
}

/** Calls body(T{}) with the element type of `dtype`: float or bf16. */
template <class Body>
void with_dtype(int32_t dtype, Body &&body) {
  switch (dtype) {
    case GATUN_F32:
      body(float{});
      return;
    case GATUN_BF16:
      body(bf16{});
      return;
    default:
      invalid_dtype("dtype", dtype, "0 (f32) or 1 (bf16)");
  }
}

}  // namespace gatun::GATUN_ISA

#endif
