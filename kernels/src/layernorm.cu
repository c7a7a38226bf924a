/*
 * layernorm: s = x + delta; y = (s - mean) * rstd * weight + bias, rstd = 1 / sqrt(mean((s - mean)^2) + eps).
 *   with n = (s - mean) * rstd, g = d_y * weight:
 *   d_x = d_residual + rstd * (g - mean(g) - n * mean(g * n)); d_weight += d_y * n; d_bias += d_y
 * s is what `sum` holds (rounded to its dtype), so that the backward pass sees the very values that were normalized.
 * Threads and shared memory (at most 16 KiB): norm.h. Deterministic. Traffic per element: forward one read and one write (two and two with
 * delta), 8 FLOPs; backward two reads (three with d_residual), one write, 14 FLOPs.
 */
#include "guard.h"
#include "norm.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t layernorm_forward(void *y, void *sum, float *mean, float *rstd, const void *x, const void *delta, const void *weight, const void *bias,
                          int64_t tokens, int64_t dim, float eps, int32_t dtype, void *stream) {
  return guarded("layernorm_forward", stream, [&](cudaStream_t on) {
    check_extent("tokens", tokens);
    check_positive("dim", dim);
    check_both_or_neither("delta", delta, "sum", sum);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("weight", weight);
      check_pointer("bias", bias);
      norm_forward<true, T>("layernorm_forward", on,
                            {.y = static_cast<T *>(y),
                             .sum = static_cast<T *>(sum),
                             .mean = mean,
                             .rstd = rstd,
                             .x = static_cast<const T *>(x),
                             .delta = static_cast<const T *>(delta),
                             .weight = static_cast<const T *>(weight),
                             .bias = static_cast<const T *>(bias),
                             .rows = tokens,
                             .groups = 1,
                             .dim = dim,
                             .y_stride = dim,
                             .x_stride = dim,
                             .eps = eps,
                             .weight_offset = 0.0f});
    });
  });
}

int32_t layernorm_backward(void *d_x, float *d_weight, float *d_bias, const void *d_y, const void *x, const void *weight, const float *mean,
                           const float *rstd, const void *d_residual, int64_t tokens, int64_t dim, int32_t dtype, void *workspace, void *stream) {
  return guarded("layernorm_backward", stream, [&](cudaStream_t on) {
    check_extent("tokens", tokens);
    check_positive("dim", dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("d_x", d_x);
      check_pointer("d_weight", d_weight);
      check_pointer("d_bias", d_bias);
      check_pointer("d_y", d_y);
      check_pointer("x", x);
      check_pointer("weight", weight);
      check_pointer("mean", mean);
      check_pointer("rstd", rstd);
      check_pointer("workspace", workspace);
      float *const d[2] = {d_weight, d_bias};
      norm_backward<true, T>("layernorm_backward", on, d,
                             {.d_x = static_cast<T *>(d_x),
                              .partial = static_cast<float *>(workspace),
                              .d_y = static_cast<const T *>(d_y),
                              .x = static_cast<const T *>(x),
                              .weight = static_cast<const T *>(weight),
                              .mean = mean,
                              .rstd = rstd,
                              .d_residual = static_cast<const T *>(d_residual),
                              .rows = tokens,
                              .groups = 1,
                              .dim = dim,
                              .d_x_stride = dim,
                              .d_y_stride = dim,
                              .x_stride = dim,
                              .weight_offset = 0.0f});
    });
  });
}

}  // namespace gatun::GATUN_ISA
