/*
 * adamw_8bit: adamw.cpp's formulas on moments of 8 bits (moments.h): a block of GATUN_MOMENT_BLOCK elements is decoded, stepped with, and
 * encoded again with the scale that its largest moment asks for.
 * Threads take blocks. Deterministic. Traffic per element: reads 10, writes 6 bytes (f32 weights; bf16 with remainder the same).
 */
#include <algorithm>
#include <cmath>

#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t adamw_8bit(void *weight, uint16_t *remainder, uint8_t *first_moment, uint8_t *second_moment, float *first_scale, float *second_scale,
                   const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count, double learning_rate, double beta1,
                   double beta2, double eps, double weight_decay, double correction1, double correction2, uint64_t rounding_seed, int32_t dtype,
                   void *) {
  return guarded("adamw_8bit", [&] {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    check_corrections(correction1, correction2);
    with_weights(weight, remainder, rounding_seed, dtype, [&](const auto weights) {
      if (count == 0) return;
      check_pointer("first_moment", first_moment);
      check_pointer("second_moment", second_moment);
      check_pointer("first_scale", first_scale);
      check_pointer("second_scale", second_scale);
      constexpr int64_t kBlock = GATUN_MOMENT_BLOCK;
      const float scale = *gradient_scale;
      const float b1 = static_cast<float>(beta1), of_g = static_cast<float>(1.0 - beta1);
      const float b2 = static_cast<float>(beta2), of_square = static_cast<float>(1.0 - beta2);
      const float step = static_cast<float>(learning_rate / correction1);
      const float root_scale = static_cast<float>(1.0 / std::sqrt(correction2));
      const float epsilon = static_cast<float>(eps);
      const float decay_step = static_cast<float>(learning_rate * weight_decay);
      const int64_t blocks = (count + kBlock - 1) / kBlock;
      // Coding takes far longer than memory: about 64 bytes' time per element.
      parallel_for(blocks, count * 64, [&](int64_t block) {
        const int64_t begin = block * kBlock, elements = std::min(kBlock, count - begin);
        float m[kBlock], v[kBlock];
        float largest_m = 0, largest_v = 0;
        for (int64_t i = 0; i < elements; ++i) {
          const float g = gradient[begin + i] * scale;
          m[i] = std::fma(b1, decode_first(first_moment[begin + i], first_scale[block]), of_g * g);
          v[i] = std::fma(b2, decode_second(second_moment[begin + i], second_scale[block]), of_square * g * g);
          largest_m = std::max(largest_m, std::fabs(m[i]));
          largest_v = std::max(largest_v, v[i]);
        }
        const float scale_m = moment_scale<7>(largest_m), scale_v = moment_scale<8>(largest_v);
        const float inverse_m = largest_m > 0 ? 1.0f / scale_m : 0.0f, inverse_v = largest_v > 0 ? 1.0f / scale_v : 0.0f;
        first_scale[block] = scale_m;
        second_scale[block] = scale_v;
        for (int64_t i = 0; i < elements; ++i) {
          first_moment[begin + i] = encode_first(m[i], inverse_m);
          second_moment[begin + i] = encode_second(v[i], inverse_v);
        }
        for_vectors(elements, [&](int64_t i, auto span) GATUN_LAMBDA_INLINE {
          floats decay = splat(decay_step);
          if (begin + i + kLanes > decay_count) {
            float each[kLanes];
            for (int lane = 0; lane < kLanes; ++lane) each[lane] = begin + i + lane < decay_count ? decay_step : 0.0f;
            decay = load(each, Whole{});
          }
          const floats w = weights.read(begin + i, span) * (1.0f - decay);
          const floats change = load(m + i, span) / fma(root_scale, sqrt(load(v + i, span)), splat(epsilon));
          weights.write(begin + i, fma(-step, change, w), span);
        });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
