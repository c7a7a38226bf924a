/*
 * adamw, as torch.optim.AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2): g = gradient * *gradient_scale
 *   w *= 1 - learning_rate * weight_decay         first decay_count elements
 *   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
 *   w -= learning_rate / correction1 * m / (sqrt(v) / sqrt(correction2) + eps)
 * Threads take ranges of elements. Deterministic. Traffic per element: reads 16, writes 12 bytes (f32, or bf16 with remainder).
 */
#include <cmath>

#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t adamw(void *weight, uint16_t *remainder, float *first_moment, float *second_moment, const float *gradient, const float *gradient_scale,
              int64_t count, int64_t decay_count, double learning_rate, double beta1, double beta2, double eps, double weight_decay,
              double correction1, double correction2, uint64_t rounding_seed, int32_t dtype, void *) {
  return guarded("adamw", [&] {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    check_corrections(correction1, correction2);
    with_weights(weight, remainder, rounding_seed, dtype, [&](const auto weights) {
      if (count == 0) return;
      check_pointer("first_moment", first_moment);
      check_pointer("second_moment", second_moment);
      const float scale = *gradient_scale;
      const float b1 = static_cast<float>(beta1), of_g = static_cast<float>(1.0 - beta1);
      const float b2 = static_cast<float>(beta2), of_square = static_cast<float>(1.0 - beta2);
      const float step = static_cast<float>(learning_rate / correction1);
      const float root_scale = static_cast<float>(1.0 / std::sqrt(correction2));
      const float epsilon = static_cast<float>(eps);
      const float decay_step = static_cast<float>(learning_rate * weight_decay);
      for_weights(count, decay_count, decay_step, 24 + weights.kBytes, [&](int64_t i, auto span, float decay) GATUN_LAMBDA_INLINE {
        const floats g = load(gradient + i, span) * scale;
        const floats m = fma(b1, load(first_moment + i, span), of_g * g);
        const floats v = fma(b2, load(second_moment + i, span), of_square * g * g);
        store(first_moment + i, m, span);
        store(second_moment + i, v, span);
        const floats w = weights.read(i, span) * (1.0f - decay);
        weights.write(i, fma(-step, m / fma(root_scale, sqrt(v), splat(epsilon)), w), span);
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
