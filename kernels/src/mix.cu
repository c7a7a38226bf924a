/*
 * mix: dst = (1 - alpha) dst + alpha src, in f32 (TR-DPO's reference update).
 * Threads: elementwise.h. No shared memory. Deterministic. Traffic: two reads and one write per element; 3 FLOPs.
 */
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

struct Mix {
  float of_dst, of_src;

  __device__ __forceinline__ float operator()(float dst, float src) const { return fmaf(of_src, src, of_dst * dst); }
};

}  // namespace

int32_t mix(void *dst, const void *src, int64_t count, double alpha, int32_t dtype, void *stream) {
  return guarded("mix", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("dst", dst);
      check_pointer("src", src);
      const Mix mixed{static_cast<float>(1.0 - alpha), static_cast<float>(alpha)};
      elementwise("mix", on, mixed, count, static_cast<T *>(dst), static_cast<const T *>(dst), static_cast<const T *>(src));
    });
  });
}

}  // namespace gatun::GATUN_ISA
