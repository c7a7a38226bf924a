/*
 * moments.h: numbers of 8 bits for the moments of adamw_8bit, the same on host and device: before including, define GATUN_ISA (the
 * namespace) and, for device code, GATUN_HOST_DEVICE.
 *
 * Dynamic tree codes (Dettmers et al., arXiv 2110.02861, section 2): a code c > 0 has its leading one at bit p, and f = the bits below it.
 *   unsigned   value = 10^(p - 7) * (0.1 + 0.9 (f + 1/2) / 2^p)      p = 0..7: eight decades, the upper ones finer
 *   signed     the same with p = 0..6 and 10^(p - 6), bit 7 the sign
 * and code 0 is 0. A block's numbers are its scale times these values; the scale makes the largest magnitude the largest code exactly.
 */
#ifndef GATUN_MOMENTS_H
#define GATUN_MOMENTS_H

#include <stdint.h>

#ifndef GATUN_HOST_DEVICE
#define GATUN_HOST_DEVICE
#endif

namespace gatun::GATUN_ISA {

/** kBits: of the magnitude, 7 with a sign and 8 without. */
template <int kBits>
struct MomentCode {
  /** The value of the largest code. */
  static constexpr float kLargest = 0.1f + 0.9f * (static_cast<float>(1 << (kBits - 1)) - 0.5f) / static_cast<float>(1 << (kBits - 1));

  /** Magnitude of a code, in units of the scale. */
  GATUN_HOST_DEVICE static float decode(uint32_t code) {
    float decade = kBits == 8 ? 1e-7f : 1e-6f, share = 1.0f;  // 10^(p - kBits + 1), 2^-p
    uint32_t leading = 1;
    for (int p = 1; p < kBits; ++p) {
      if (code >> p != 0) {
        decade *= 10.0f;
        share *= 0.5f;
        leading = 1u << p;
      }
    }
    const float inside = (static_cast<float>(code - leading) + 0.5f) * share;
    return code == 0 ? 0.0f : decade * (0.1f + 0.9f * inside);
  }

  /** The code whose interval holds a magnitude of 0 to kLargest. What is below all intervals is 0. */
  GATUN_HOST_DEVICE static uint32_t encode(float magnitude) {
    float scaled = magnitude * (kBits == 8 ? 1e7f : 1e6f);  // magnitude / 10^(p - kBits + 1)
    if (!(scaled >= 0.1f)) return 0;
    uint32_t leading = 1;
    for (int p = 1; p < kBits; ++p) {
      if (scaled >= 1.0f) {
        scaled *= 0.1f;
        leading <<= 1;
      }
    }
    const int32_t inside = static_cast<int32_t>((scaled - 0.1f) * (1.0f / 0.9f) * static_cast<float>(leading));
    const int32_t last = static_cast<int32_t>(leading) - 1;
    return leading + static_cast<uint32_t>(inside < 0 ? 0 : inside > last ? last : inside);
  }
};

/** The first moment: bit 7 is the sign. `unit`: the block's scale, or its inverse. */
GATUN_HOST_DEVICE inline float decode_first(uint8_t code, float unit) {
  const float magnitude = MomentCode<7>::decode(code & 0x7fu) * unit;
  return (code & 0x80u) != 0 ? -magnitude : magnitude;
}

GATUN_HOST_DEVICE inline uint8_t encode_first(float value, float inverse) {
  const uint32_t code = MomentCode<7>::encode((value < 0 ? -value : value) * inverse);
  return static_cast<uint8_t>(code | (value < 0 && code != 0 ? 0x80u : 0u));
}

GATUN_HOST_DEVICE inline float decode_second(uint8_t code, float unit) {
  return MomentCode<8>::decode(code) * unit;
}

/** Never 0 for what is above 0: a step divides by its root. */
GATUN_HOST_DEVICE inline uint8_t encode_second(float value, float inverse) {
  const uint32_t code = MomentCode<8>::encode(value * inverse);
  return static_cast<uint8_t>(code == 0 && value > 0 ? 1u : code);
}

/** Scale of a block whose largest magnitude is `largest`. */
template <int kBits>
GATUN_HOST_DEVICE inline float moment_scale(float largest) {
  return largest / MomentCode<kBits>::kLargest;
}

/** 16 bits for each of the four elements from 4 * (i / 4) on: SplitMix64's output function (Steele, Lea, Flood 2014) of seed and position. */
GATUN_HOST_DEVICE inline uint64_t rounding_bits(uint64_t seed, int64_t i) {
  uint64_t z = seed + (static_cast<uint64_t>(i) / 4 + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/** The upper half of an f32's bits, rounded away from zero where the lower half plus 16 random bits carries; NaN and infinities stay. */
GATUN_HOST_DEVICE inline uint16_t round_stochastically(uint32_t bits, uint64_t random, int64_t i) {
  const uint32_t addend = static_cast<uint32_t>(random >> (i % 4 * 16)) & 0xffffu;
  if ((bits & 0x7f800000u) == 0x7f800000u) return static_cast<uint16_t>((bits & 0x7fffffu) != 0 ? bits >> 16 | 0x40u : bits >> 16);
  return static_cast<uint16_t>((bits + addend) >> 16);
}

}  // namespace gatun::GATUN_ISA

#endif
