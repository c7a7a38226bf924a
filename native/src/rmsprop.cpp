/*
 * rmsprop, as torch.optim.RMSprop, not centered: g = gradient * *gradient_scale + weight_decay * w (first decay_count elements)
 *   v = alpha v + (1 - alpha) g^2;  step = g / (sqrt(v) + eps)
 *   buffer = momentum * buffer + step, step = buffer       if there is a buffer
 *   w -= learning_rate * step
 * Threads take ranges of elements. Deterministic. Traffic per element: reads 12 (16), writes 8 (12) bytes without (with) buffer.
 */
#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t rmsprop(void *weight, uint16_t *remainder, float *square_average, float *buffer, const float *gradient, const float *gradient_scale,
                int64_t count, int64_t decay_count, double learning_rate, double alpha, double eps, double momentum, double weight_decay,
                int32_t dtype, void *) {
  return guarded("rmsprop", [&] {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    if (buffer == nullptr && momentum != 0) invalid("momentum is %g but buffer is NULL, expected memory for the buffer", momentum);
    with_weights(weight, remainder, dtype, [&](const auto weights) {
      if (count == 0) return;
      check_pointer("square_average", square_average);
      const float scale = *gradient_scale;
      const float of_v = static_cast<float>(alpha), of_square = static_cast<float>(1.0 - alpha);
      const float rate = static_cast<float>(learning_rate), epsilon = static_cast<float>(eps);
      const float of_buffer = static_cast<float>(momentum);
      for_weights(count, decay_count, static_cast<float>(weight_decay), 16 + weights.kBytes + (buffer == nullptr ? 0 : 8),
                  [&](int64_t i, auto span, float decay) GATUN_LAMBDA_INLINE {
                    const floats w = weights.read(i, span);
                    const floats g = fma(decay, w, load(gradient + i, span) * scale);
                    const floats v = fma(of_v, load(square_average + i, span), of_square * g * g);
                    store(square_average + i, v, span);
                    floats step = g / (sqrt(v) + epsilon);
                    if (buffer != nullptr) {
                      step = fma(of_buffer, load(buffer + i, span), step);
                      store(buffer + i, step, span);
                    }
                    weights.write(i, fma(-rate, step, w), span);
                  });
    });
  });
}

}  // namespace gatun::GATUN_ISA
