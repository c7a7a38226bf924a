/*
 * residual: y = x + delta.
 * Threads take ranges of elements. Deterministic. Traffic: two reads and one write per element.
 */
#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t residual_forward(void *y, const void *x, const void *delta, int64_t count, int32_t dtype, void *) {
  return guarded("residual_forward", [&] {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("delta", delta);
      parallel_ranges(count, 3 * sizeof(T), [&](int64_t begin, int64_t end) {
        T *out = static_cast<T *>(y) + begin;
        const T *a = static_cast<const T *>(x) + begin;
        const T *b = static_cast<const T *>(delta) + begin;
        for_vectors(end - begin, [&](int64_t i, auto span) { store(out + i, load(a + i, span) + load(b + i, span), span); });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
