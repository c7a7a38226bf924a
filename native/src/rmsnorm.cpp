/*
 * rmsnorm: s = x + delta; rstd = 1 / sqrt(mean(s^2) + eps); y = s * rstd * w, w = weight + weight_offset.
 *   with n = s * rstd, g = d_y * w:  d_x = d_residual + rstd * (g - n * mean(g * n)); d_weight += d_y * n
 * s is what `sum` holds (rounded to its dtype), so that the backward pass sees the very values that were normalized.
 * Forward: threads take rows (token, group). Backward: threads take chunks of rows, whose number depends on the shape alone, each with
 * its own sums of d_weight; the sums are added in the order of the chunks. Deterministic. A row is read from memory once and found in the
 * cache the second time. Traffic per element: forward one read and one write (two and two with delta); backward two reads (three with
 * d_residual), one write.
 */
#include <cmath>
#include <cstring>

#include "guard.h"
#include "parallel.h"
#include "partial_sums.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t rmsnorm_forward(void *y, void *sum_out, float *rstd, const void *x, const void *delta, const void *weight, int64_t tokens, int64_t groups,
                        int64_t dim, int64_t y_stride, int64_t x_stride, float eps, float weight_offset, int32_t dtype, void *) {
  return guarded("rmsnorm_forward", [&] {
    check_extent("tokens", tokens);
    check_positive("groups", groups);
    check_positive("dim", dim);
    check_stride("y_stride", y_stride, groups * dim);
    check_stride("x_stride", x_stride, groups * dim);
    check_both_or_neither("delta", delta, "sum", sum_out);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("weight", weight);
      const T *w = static_cast<const T *>(weight);
      const int64_t rows = tokens * groups;
      parallel_for(rows, rows * dim * (delta == nullptr ? 2 : 4) * int64_t{sizeof(T)}, [&](int64_t row) {
        const int64_t token = row / groups, group = row % groups;
        const int64_t x_at = token * x_stride + group * dim;
        T *out = static_cast<T *>(y) + token * y_stride + group * dim;
        const T *s = static_cast<const T *>(x) + x_at;
        floats squares{};
        if (delta == nullptr) {
          for_vectors(dim, [&](int64_t i, auto span) {
            const floats v = load(s + i, span);
            squares = fma(v, v, squares);
          });
        } else {
          const T *d = static_cast<const T *>(delta) + x_at;
          T *kept = static_cast<T *>(sum_out) + x_at;
          for_vectors(dim, [&](int64_t i, auto span) {
            store(kept + i, load(s + i, span) + load(d + i, span), span);
            const floats v = load(kept + i, span);
            squares = fma(v, v, squares);
          });
          s = kept;
        }
        const float r = 1.0f / std::sqrt(sum(squares) / static_cast<float>(dim) + eps);
        for_vectors(dim, [&](int64_t i, auto span) { store(out + i, load(s + i, span) * r * (load(w + i, span) + weight_offset), span); });
        if (rstd != nullptr) rstd[row] = r;
      });
    });
  });
}

int32_t rmsnorm_backward(void *d_x, float *d_weight, const void *d_y, const void *x, const void *weight, const float *rstd, const void *d_residual,
                         int64_t tokens, int64_t groups, int64_t dim, int64_t d_x_stride, int64_t d_y_stride, int64_t x_stride, float weight_offset,
                         int32_t dtype, void *workspace, void *) {
  return guarded("rmsnorm_backward", [&] {
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
      const T *w = static_cast<const T *>(weight);
      const int64_t rows = tokens * groups;
      const Chunks chunks = Chunks::of(rows, dim);
      float *partial_sums = static_cast<float *>(workspace);
      parallel_for(chunks.count, rows * dim * 4 * int64_t{sizeof(T)}, [&](int64_t chunk) {
        float *d_w = partial_sums + chunk * dim;
        std::memset(d_w, 0, dim * sizeof(float));
        for (int64_t row = chunks.begin(chunk); row < chunks.end(chunk, rows); ++row) {
          const int64_t token = row / groups, group = row % groups;
          const T *in = static_cast<const T *>(x) + token * x_stride + group * dim;
          const T *d_out = static_cast<const T *>(d_y) + token * d_y_stride + group * dim;
          T *d_in = static_cast<T *>(d_x) + token * d_x_stride + group * dim;
          const float r = rstd[row];
          floats dot{};
          for_vectors(dim, [&](int64_t i, auto span) {
            const floats d_normalized = load(d_out + i, span) * (load(in + i, span) * r);
            store(d_w + i, load(d_w + i, span) + d_normalized, span);
            dot = fma(d_normalized, load(w + i, span) + weight_offset, dot);
          });
          const float mean = sum(dot) / static_cast<float>(dim);
          const auto through_norm = [&](int64_t i, auto span) GATUN_LAMBDA_INLINE {
            const floats g = load(d_out + i, span) * (load(w + i, span) + weight_offset);
            return r * fma(load(in + i, span), splat(-r * mean), g);
          };
          if (d_residual == nullptr) {
            for_vectors(dim, [&](int64_t i, auto span) { store(d_in + i, through_norm(i, span), span); });
          } else {
            const T *d_res = static_cast<const T *>(d_residual) + token * d_x_stride + group * dim;
            for_vectors(dim, [&](int64_t i, auto span) { store(d_in + i, load(d_res + i, span) + through_norm(i, span), span); });
          }
        }
      });
      add_partial_sums(d_weight, partial_sums, chunks, dim);
    });
  });
}

}  // namespace gatun::GATUN_ISA
