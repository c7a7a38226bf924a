/*
 * master.h: how optimizers read and write weights.
 *   f32             the weight itself
 *   bf16            the weight, rounded to nearest even when written, or stochastically
 *   bf16 + remainder  the exact f32 master, whose bits are (weight << 16) + (int16_t)remainder; weight is the master rounded to nearest,
 *                   ties away from zero
 */
#ifndef GATUN_MASTER_H
#define GATUN_MASTER_H

#include "guard.h"
#include "moments.h"
#include "simd.h"

namespace gatun::GATUN_ISA {

/** Weights of type T without remainders. */
template <class T>
struct PlainWeights {
  T *weight;

  static constexpr int kBytes = sizeof(T);
  template <class Span>
  GATUN_INLINE floats read(int64_t i, Span span) const {
    return load(weight + i, span);
  }
  template <class Span>
  GATUN_INLINE void write(int64_t i, floats w, Span span) const {
    store(weight + i, w, span);
  }
};

/** bf16 without remainders, rounded stochastically. */
struct StochasticWeights {
  bf16 *weight;
  uint64_t seed;

  static constexpr int kBytes = 2;
  template <class Span>
  GATUN_INLINE floats read(int64_t i, Span span) const {
    return load(weight + i, span);
  }
  template <class Span>
  GATUN_INLINE void write(int64_t i, floats w, Span span) const {
    uint32_t bits[kLanes];
    store_lanes(bits, bits_as<words>(w), Whole{});
    for (int lane = 0; lane < lanes_of(span); ++lane) {
      weight[i + lane].bits = round_stochastically(bits[lane], rounding_bits(seed, i + lane), i + lane);
    }
  }
};

struct SplitWeights {
  bf16 *weight;
  uint16_t *remainder;

  static constexpr int kBytes = 4;
  template <class Span>
  GATUN_INLINE floats read(int64_t i, Span span) const {
    const words upper = zero_extend(load_lanes<halfwords>(weight + i, span)) << 16;
    const words lower = zero_extend(load_lanes<halfwords>(remainder + i, span));
    return bits_as<floats>(upper + ((lower ^ 0x8000u) - 0x8000u));
  }
  template <class Span>
  GATUN_INLINE void write(int64_t i, floats master, Span span) const {
    const words bits = bits_as<words>(master);
    store_lanes(weight + i, truncate((bits + 0x8000u) >> 16), span);
    store_lanes(remainder + i, truncate(bits), span);
  }
};

/** Calls body with the weights that dtype, remainder and rounding_seed say. */
template <class Body>
void with_weights(void *weight, uint16_t *remainder, uint64_t rounding_seed, int32_t dtype, const Body &body) {
  with_dtype(dtype, [&]<class T>(T) {
    if (rounding_seed != 0) {
      check_stochastic(remainder, dtype);
      if constexpr (sizeof(T) == 2) body(StochasticWeights{static_cast<bf16 *>(weight), rounding_seed});
    } else if (remainder == nullptr) {
      body(PlainWeights<T>{static_cast<T *>(weight)});
    } else if constexpr (sizeof(T) == 2) {
      body(SplitWeights{static_cast<bf16 *>(weight), remainder});
    } else {
      invalid("remainder is given with dtype 0 (f32), expected NULL: a remainder completes bf16 weights only");
    }
  });
}

template <class Body>
void with_weights(void *weight, uint16_t *remainder, int32_t dtype, const Body &body) {
  with_weights(weight, remainder, 0, dtype, body);
}

}  // namespace gatun::GATUN_ISA

#endif
