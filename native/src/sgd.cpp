/*
 * sgd, as torch.optim.SGD: g = gradient * *gradient_scale + weight_decay * w (first decay_count elements)
 *   buffer = g on the first step, momentum * buffer + g later, and g = buffer       if there is a buffer
 *   w -= learning_rate * g
 * Threads take ranges of elements. Deterministic. Traffic per element: reads 8 (12), writes 4 (8) bytes without (with) buffer.
 */
#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t sgd(void *weight, uint16_t *remainder, float *buffer, const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count,
            double learning_rate, double momentum, double weight_decay, int32_t first_step, int32_t dtype, void *) {
  return guarded("sgd", [&] {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    if (buffer == nullptr && momentum != 0) invalid("momentum is %g but buffer is NULL, expected memory for the buffer", momentum);
    with_weights(weight, remainder, dtype, [&](const auto weights) {
      if (count == 0) return;
      const float scale = *gradient_scale;
      const float rate = static_cast<float>(learning_rate), of_buffer = static_cast<float>(momentum);
      for_weights(count, decay_count, static_cast<float>(weight_decay), 8 + weights.kBytes + (buffer == nullptr ? 0 : 8),
                  [&](int64_t i, auto span, float decay) GATUN_LAMBDA_INLINE {
                    const floats w = weights.read(i, span);
                    floats g = fma(decay, w, load(gradient + i, span) * scale);
                    if (buffer != nullptr) {
                      if (first_step == 0) g = fma(of_buffer, load(buffer + i, span), g);
                      store(buffer + i, g, span);
                    }
                    weights.write(i, fma(-rate, g, w), span);
                  });
    });
  });
}

}  // namespace gatun::GATUN_ISA
