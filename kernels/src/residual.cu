/*
 * residual: y = x + delta.
 * Threads: elementwise.h. No shared memory. Deterministic. Traffic: two reads and one write per element; 1 FLOP.
 */
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

struct Add {
  __device__ __forceinline__ float operator()(float x, float delta) const { return x + delta; }
};

}  // namespace

int32_t residual_forward(void *y, const void *x, const void *delta, int64_t count, int32_t dtype, void *stream) {
  return guarded("residual_forward", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("delta", delta);
      elementwise("residual_forward", on, Add{}, count, static_cast<T *>(y), static_cast<const T *>(x), static_cast<const T *>(delta));
    });
  });
}

}  // namespace gatun::GATUN_ISA
