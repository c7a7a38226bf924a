/*
 * layernorm: s = x + delta; y = (s - mean) * rstd * weight + bias, rstd = 1 / sqrt(mean((s - mean)^2) + eps).
 *   with n = (s - mean) * rstd, g = d_y * weight:
 *   d_x = d_residual + rstd * (g - mean(g) - n * mean(g * n)); d_weight += d_y * n; d_bias += d_y
 * s is what `sum` holds (rounded to its dtype), so that the backward pass sees the very values that were normalized.
 * Threads and order of sums as in rmsnorm.cpp. Deterministic. Traffic as in rmsnorm.cpp.
 */
#include <cmath>
#include <cstring>

#include "guard.h"
#include "parallel.h"
#include "partial_sums.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t layernorm_forward(void *y, void *sum_out, float *mean, float *rstd, const void *x, const void *delta, const void *weight, const void *bias,
                          int64_t tokens, int64_t dim, float eps, int32_t dtype, void *) {
  return guarded("layernorm_forward", [&] {
    check_extent("tokens", tokens);
    check_positive("dim", dim);
    check_both_or_neither("delta", delta, "sum", sum_out);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      check_pointer("weight", weight);
      check_pointer("bias", bias);
      const T *w = static_cast<const T *>(weight);
      const T *b = static_cast<const T *>(bias);
      parallel_for(tokens, tokens * dim * (delta == nullptr ? 2 : 4) * int64_t{sizeof(T)}, [&](int64_t token) {
        T *out = static_cast<T *>(y) + token * dim;
        const T *s = static_cast<const T *>(x) + token * dim;
        floats total{};
        if (delta == nullptr) {
          for_vectors(dim, [&](int64_t i, auto span) { total += load(s + i, span); });
        } else {
          const T *d = static_cast<const T *>(delta) + token * dim;
          T *kept = static_cast<T *>(sum_out) + token * dim;
          for_vectors(dim, [&](int64_t i, auto span) {
            store(kept + i, load(s + i, span) + load(d + i, span), span);
            total += load(kept + i, span);
          });
          s = kept;
        }
        const float m = sum(total) / static_cast<float>(dim);
        floats squares{};
        for_vectors(dim, [&](int64_t i, auto span) {
          const floats centred = keep(load(s + i, span) - m, 0.0f, span);
          squares = fma(centred, centred, squares);
        });
        const float r = 1.0f / std::sqrt(sum(squares) / static_cast<float>(dim) + eps);
        for_vectors(dim, [&](int64_t i, auto span) { store(out + i, fma((load(s + i, span) - m) * r, load(w + i, span), load(b + i, span)), span); });
        if (mean != nullptr) mean[token] = m;
        if (rstd != nullptr) rstd[token] = r;
      });
    });
  });
}

int32_t layernorm_backward(void *d_x, float *d_weight, float *d_bias, const void *d_y, const void *x, const void *weight, const float *mean,
                           const float *rstd, const void *d_residual, int64_t tokens, int64_t dim, int32_t dtype, void *workspace, void *) {
  return guarded("layernorm_backward", [&] {
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
      const T *w = static_cast<const T *>(weight);
      const Chunks chunks = Chunks::of(tokens, dim);
      float *weight_sums = static_cast<float *>(workspace);
      float *bias_sums = weight_sums + chunks.count * dim;
      parallel_for(chunks.count, tokens * dim * 4 * int64_t{sizeof(T)}, [&](int64_t chunk) {
        float *d_w = weight_sums + chunk * dim;
        float *d_b = bias_sums + chunk * dim;
        std::memset(d_w, 0, dim * sizeof(float));
        std::memset(d_b, 0, dim * sizeof(float));
        for (int64_t token = chunks.begin(chunk); token < chunks.end(chunk, tokens); ++token) {
          const T *in = static_cast<const T *>(x) + token * dim;
          const T *d_out = static_cast<const T *>(d_y) + token * dim;
          T *d_in = static_cast<T *>(d_x) + token * dim;
          const float m = mean[token], r = rstd[token];
          floats dot{}, total{};
          for_vectors(dim, [&](int64_t i, auto span) {
            const floats d = load(d_out + i, span);
            const floats d_normalized = d * ((load(in + i, span) - m) * r);
            const floats weights = load(w + i, span);
            store(d_w + i, load(d_w + i, span) + d_normalized, span);
            store(d_b + i, load(d_b + i, span) + d, span);
            dot = fma(d_normalized, weights, dot);
            total = fma(d, weights, total);
          });
          const float mean_dot = sum(dot) / static_cast<float>(dim);
          const float mean_total = sum(total) / static_cast<float>(dim);
          const auto through_norm = [&](int64_t i, auto span) GATUN_LAMBDA_INLINE {
            const floats g = load(d_out + i, span) * load(w + i, span);
            return r * fma(load(in + i, span) - m, splat(-r * mean_dot), g - mean_total);
          };
          if (d_residual == nullptr) {
            for_vectors(dim, [&](int64_t i, auto span) { store(d_in + i, through_norm(i, span), span); });
          } else {
            const T *d_res = static_cast<const T *>(d_residual) + token * dim;
            for_vectors(dim, [&](int64_t i, auto span) { store(d_in + i, load(d_res + i, span) + through_norm(i, span), span); });
          }
        }
      });
      add_partial_sums(d_weight, weight_sums, chunks, dim);
      add_partial_sums(d_bias, bias_sums, chunks, dim);
    });
  });
}

}  // namespace gatun::GATUN_ISA
