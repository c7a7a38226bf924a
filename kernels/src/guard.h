/*
 * guard.h: the frame around the host body of every row: its name as an NVTX range, nothing thrown leaves the library, what the CUDA runtime
 * says about the launches is asked, and a dtype becomes a type.
 */
#ifndef GATUN_KERNELS_GUARD_H
#define GATUN_KERNELS_GUARD_H

#include "checks.h"
#include "device.h"
#include "gatun_device.h"
#include "gatun_kernels.h"

namespace gatun::GATUN_ISA {

/** Throws GATUN_FAILED if the runtime refused a launch since it was last asked, or, with debug sync, if the work failed. */
void check_launches(cudaStream_t stream);

/** A range of the profiler, as long as it lives. */
class Range {
 public:
  explicit Range(const char *name) { gatun_device_range_push(name); }
  ~Range() { gatun_device_range_pop(); }
  Range(const Range &) = delete;
  Range &operator=(const Range &) = delete;
};

/** Runs body(stream); returns GATUN_OK, or the status of what went wrong with the text kept for last_error(). */
template <class Body>
int32_t guarded(const char *row, void *stream, Body &&body) noexcept {
  try {
    const Range range(row);
    body(static_cast<cudaStream_t>(stream));
    check_launches(static_cast<cudaStream_t>(stream));
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

/** Calls body(std::true_type) or body(std::false_type). */
template <class Body>
void with_bool(bool value, Body &&body) {
  if (value) {
    body(std::true_type{});
  } else {
    body(std::false_type{});
  }
}

}  // namespace gatun::GATUN_ISA

#endif
