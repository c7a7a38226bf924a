/*
 * rmsnorm: s = x + delta; rstd = 1 / sqrt(mean(s^2) + eps); y = s * rstd * w, w = weight + weight_offset.
 *   with n = s * rstd, g = d_y * w:  d_x = d_residual + rstd * (g - n * mean(g * n)); d_weight += d_y * n
 * s is what `sum` holds (rounded to its dtype), so that the backward pass sees the very values that were normalized.
 * Threads and shared memory (at most 8 KiB): norm.h. Deterministic. Traffic per element: forward one read and one write (two and two with
 * delta), 5 FLOPs; backward two reads (three with d_residual), one write, 10 FLOPs.
 */
#include "guard.h"
#include "norm.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t rmsnorm_forward(void *y, void *sum, float *rstd, const void *x, const void *delta, const void *weight, int64_t tokens, int64_t groups,
                        int64_t dim, int64_t y_stride, int64_t x_stride, float eps, float weight_offset, int32_t dtype, void *stream) {
  return guarded("rmsnorm_forward", stream, [&](cudaStream_t on) {
    check_extent("tokens", tokens);
    check_positive("groups", groups);
    check_positive("dim", dim);
    check_stride("y_stride", y_stride, groups * dim);
    check_stride("x_stride", x_stride, groups * dim);
    check_both_or_neither("delta", delta, "sum", sum);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("weight", weight);
      norm_forward<false, T>("rmsnorm_forward", on,
                             {.y = static_cast<T *>(y),
                              .sum = static_cast<T *>(sum),
                              .mean = nullptr,
                              .rstd = rstd,
                              .x = static_cast<const T *>(x),
                              .delta = static_cast<const T *>(delta),
                              .weight = static_cast<const T *>(weight),
                              .bias = nullptr,
                              .rows = tokens * groups,
                              .groups = groups,
                              .dim = dim,
                              .y_stride = y_stride,
                              .x_stride = x_stride,
                              .eps = eps,
                              .weight_offset = weight_offset});
    });
  });
}

int32_t rmsnorm_backward(void *d_x, float *d_weight, const void *d_y, const void *x, const void *weight, const float *rstd, const void *d_residual,
                         int64_t tokens, int64_t groups, int64_t dim, int64_t d_x_stride, int64_t d_y_stride, int64_t x_stride, float weight_offset,
                         int32_t dtype, void *workspace, void *stream) {
  return guarded("rmsnorm_backward", stream, [&](cudaStream_t on) {
    check_extent("tokens", tokens);
    check_positive("groups", groups);
    check_positive("dim", dim);
    check_stride("d_x_stride", d_x_stride, groups * dim);
    check_stride("d_y_stride", d_y_stride, groups * dim);
    check_stride("x_stride", x_stride, groups * dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("d_x", d_x);
      check_pointer("d_weight", d_weight);
      check_pointer("d_y", d_y);
      check_pointer("x", x);
      check_pointer("weight", weight);
      check_pointer("rstd", rstd);
      check_pointer("workspace", workspace);
      float *const d[1] = {d_weight};
      norm_backward<false, T>("rmsnorm_backward", on, d,
                              {.d_x = static_cast<T *>(d_x),
                               .partial = static_cast<float *>(workspace),
                               .d_y = static_cast<const T *>(d_y),
                               .x = static_cast<const T *>(x),
                               .weight = static_cast<const T *>(weight),
                               .mean = nullptr,
                               .rstd = rstd,
                               .d_residual = static_cast<const T *>(d_residual),
                               .rows = tokens * groups,
                               .groups = groups,
                               .dim = dim,
                               .d_x_stride = d_x_stride,
                               .d_y_stride = d_y_stride,
                               .x_stride = x_stride,
                               .weight_offset = weight_offset});
    });
  });
}

}  // namespace gatun::GATUN_ISA
