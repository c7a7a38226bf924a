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
namespace {

constexpr int64_t kBlock = GATUN_MOMENT_BLOCK;
static_assert(kBlock % kLanes == 0);

/** The value of every code, in units of the scale. */
struct Values {
  float first[256], second[256];

  Values() {
    for (int code = 0; code < 256; ++code) {
      first[code] = decode_first(static_cast<uint8_t>(code), 1.0f);
      second[code] = decode_second(static_cast<uint8_t>(code), 1.0f);
    }
  }
};

const Values &values() {
  static const Values all;
  return all;
}

/** MomentCode<kBits>::encode, lane by lane the same operations. */
template <int kBits>
GATUN_INLINE ints encode_magnitude(floats magnitude) {
  floats scaled = magnitude * (kBits == 8 ? 1e7f : 1e6f);
  const ints coded = scaled >= 0.1f;
  ints leading = ints{} + 1;
  for (int p = 1; p < kBits; ++p) {
    const ints above = scaled >= 1.0f;
    scaled = above ? scaled * 0.1f : scaled;
    leading = above ? leading << 1 : leading;
  }
  const ints inside = __builtin_convertvector((scaled - 0.1f) * (1.0f / 0.9f) * __builtin_convertvector(leading, floats), ints);
  const ints last = leading - 1;
  return coded & (leading + (inside < 0 ? ints{} : inside > last ? last : inside));
}

/** What is a code's lowest byte, of `elements` codes. */
void store_codes(uint8_t *dst, const int32_t *codes, int64_t elements) {
  for (int64_t i = 0; i < elements; ++i) dst[i] = static_cast<uint8_t>(codes[i]);
}

/** A block's moments: first and second. */
struct alignas(64) Moments {
  float m[kBlock], v[kBlock];

  /** In units of their scales. */
  void decode(const uint8_t *first, const uint8_t *second, int64_t elements) {
    const Values &table = values();
    for (int64_t i = 0; i < elements; ++i) {
      m[i] = table.first[first[i]];
      v[i] = table.second[second[i]];
    }
  }

  void encode(uint8_t *first, uint8_t *second, int64_t elements, float inverse_m, float inverse_v) const {
    alignas(64) int32_t first_codes[kBlock], second_codes[kBlock];
    for_vectors(elements, [&](int64_t i, auto span) GATUN_LAMBDA_INLINE {
      const floats x = load(m + i, span), y = load(v + i, span);
      const ints magnitude = encode_magnitude<7>(abs(x) * inverse_m);
      store_lanes(first_codes + i, magnitude | ((x < 0.0f) & (magnitude != 0) & 0x80), Whole{});
      const ints code = encode_magnitude<8>(y * inverse_v);
      store_lanes(second_codes + i, code | ((y > 0.0f) & (code == 0) & 1), Whole{});
    });
    store_codes(first, first_codes, elements);
    store_codes(second, second_codes, elements);
  }
};

}  // namespace

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
      const float scale = *gradient_scale;
      const float b1 = static_cast<float>(beta1), of_g = static_cast<float>(1.0 - beta1);
      const float b2 = static_cast<float>(beta2), of_square = static_cast<float>(1.0 - beta2);
      const float step = static_cast<float>(learning_rate / correction1);
      const float root_scale = static_cast<float>(1.0 / std::sqrt(correction2));
      const float epsilon = static_cast<float>(eps);
      const float decay_step = static_cast<float>(learning_rate * weight_decay);
      const int64_t blocks = (count + kBlock - 1) / kBlock;
      parallel_for(blocks, count * 16, [&](int64_t block) {
        const int64_t begin = block * kBlock, elements = std::min(kBlock, count - begin);
        const float unit_m = first_scale[block], unit_v = second_scale[block];
        Moments moments;
        moments.decode(first_moment + begin, second_moment + begin, elements);
        floats all_m{}, all_v{};
        for_vectors(elements, [&](int64_t i, auto span) GATUN_LAMBDA_INLINE {
          const floats g = load(gradient + begin + i, span) * scale;
          const floats m = fma(b1, load(moments.m + i, span) * unit_m, of_g * g);
          const floats v = fma(b2, load(moments.v + i, span) * unit_v, of_square * g * g);
          store(moments.m + i, m, span);
          store(moments.v + i, v, span);
          // In this order a NaN is passed over.
          all_m = max(abs(m), all_m);
          all_v = max(v, all_v);
        });
        const float largest_m = largest(all_m), largest_v = largest(all_v);
        const float scale_m = moment_scale<7>(largest_m), scale_v = moment_scale<8>(largest_v);
        first_scale[block] = scale_m;
        second_scale[block] = scale_v;
        moments.encode(first_moment + begin, second_moment + begin, elements, largest_m > 0 ? 1.0f / scale_m : 0.0f,
                       largest_v > 0 ? 1.0f / scale_v : 0.0f);
        for_vectors(elements, [&](int64_t i, auto span) GATUN_LAMBDA_INLINE {
          floats decay = splat(decay_step);
          if (begin + i + kLanes > decay_count) {
            float each[kLanes];
            for (int lane = 0; lane < kLanes; ++lane) each[lane] = begin + i + lane < decay_count ? decay_step : 0.0f;
            decay = load(each, Whole{});
          }
          const floats w = weights.read(begin + i, span) * (1.0f - decay);
          const floats change = load(moments.m + i, span) / fma(root_scale, sqrt(load(moments.v + i, span)), splat(epsilon));
          weights.write(begin + i, fma(-step, change, w), span);
        });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
