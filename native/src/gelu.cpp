/*
 * gelu: y = x s(2u), u = sqrt(2/pi) (x + 0.044715 x^3), the tanh approximation; formulas in activation.h.
 * Threads take ranges of elements. Deterministic. Traffic: forward one read, one write; backward two reads, one or two writes.
 */
#include "activation.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t gelu_forward(void *y, const void *x, int64_t count, int32_t dtype, void *) {
  return guarded("gelu_forward", [&] {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      parallel_ranges(count, 4 * sizeof(T), [&](int64_t begin, int64_t end) {
        T *out = static_cast<T *>(y) + begin;
        const T *in = static_cast<const T *>(x) + begin;
        for_vectors(end - begin, [&](int64_t i, auto span) { store(out + i, GeluTanh::value(load(in + i, span)), span); });
      });
    });
  });
}

int32_t gelu_backward(void *d_x, void *y, const void *d_y, const void *x, int64_t count, int32_t dtype, void *) {
  return guarded("gelu_backward", [&] {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("d_x", d_x);
      check_pointer("d_y", d_y);
      check_pointer("x", x);
      parallel_ranges(count, 6 * sizeof(T), [&](int64_t begin, int64_t end) {
        T *d_in = static_cast<T *>(d_x) + begin;
        T *out = y == nullptr ? nullptr : static_cast<T *>(y) + begin;
        const T *d_out = static_cast<const T *>(d_y) + begin;
        const T *in = static_cast<const T *>(x) + begin;
        for_vectors(end - begin, [&](int64_t i, auto span) {
          const ValueAndSlope gelu = GeluTanh::value_and_slope(load(in + i, span));
          store(d_in + i, load(d_out + i, span) * gelu.slope, span);
          if (out != nullptr) store(out + i, gelu.value, span);
        });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
