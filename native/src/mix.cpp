/*
 * mix: dst = (1 - alpha) dst + alpha src, in f32 (TR-DPO's reference update).
 * Threads take ranges of elements. Deterministic. Traffic: two reads and one write per element.
 */
#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t mix(void *dst, const void *src, int64_t count, double alpha, int32_t dtype, void *) {
  return guarded("mix", [&] {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("dst", dst);
      check_pointer("src", src);
      const float of_dst = static_cast<float>(1.0 - alpha);
      const float of_src = static_cast<float>(alpha);
      parallel_ranges(count, 3 * sizeof(T), [&](int64_t begin, int64_t end) {
        T *d = static_cast<T *>(dst) + begin;
        const T *s = static_cast<const T *>(src) + begin;
        for_vectors(end - begin, [&](int64_t i, auto span) { store(d + i, fma(of_src, load(s + i, span), of_dst * load(d + i, span)), span); });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
