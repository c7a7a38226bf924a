/* activation.h: silu and gelu (tanh approximation) with their derivatives, a vector at a time. */
#ifndef GATUN_ACTIVATION_H
#define GATUN_ACTIVATION_H

#include "guard.h"
#include "simd.h"

namespace gatun::GATUN_ISA {

struct ValueAndSlope {
  floats value;
  floats slope;
};

/** s(x) and 1 - s(x) of the logistic function, each to full relative precision. */
struct Logistic {
  floats s;
  floats one_minus_s;

  static GATUN_INLINE Logistic of(floats x) {
    const floats e = exp(min(splat(88.0f), -x));  // finite, so that e * s is never inf * 0; NaN stays
    const floats s = reciprocal(1.0f + e);
    return {s, e * s};
  }
};

/** silu(x) = x s(x); silu'(x) = s + x s (1 - s). */
struct Silu {
  static GATUN_INLINE floats value(floats x) { return x * Logistic::of(x).s; }
  static GATUN_INLINE ValueAndSlope value_and_slope(floats x) {
    const Logistic l = Logistic::of(x);
    const floats value = x * l.s;
    return {value, fma(value, l.one_minus_s, l.s)};
  }
};

/**
 * gelu(x) = x/2 (1 + tanh u) = x s(2u), u = sqrt(2/pi) (x + 0.044715 x^3); gelu'(x) = s + x s (1 - s) 2u'.
 * The logistic form keeps full precision where tanh u is near -1.
 */
struct GeluTanh {
  static constexpr float kTwoSqrt2OverPi = 1.59576912160573071176f;
  static constexpr float kCubic = 0.044715f;

  static GATUN_INLINE floats twice_u(floats x, floats square) { return kTwoSqrt2OverPi * x * fma(kCubic, square, splat(1.0f)); }
  static GATUN_INLINE floats value(floats x) { return x * Logistic::of(twice_u(x, x * x)).s; }
  static GATUN_INLINE ValueAndSlope value_and_slope(floats x) {
    const floats square = x * x;
    const Logistic l = Logistic::of(twice_u(x, square));
    const floats value = x * l.s;
    return {value, fma(value * l.one_minus_s, kTwoSqrt2OverPi * fma(3.0f * kCubic, square, splat(1.0f)), l.s)};
  }
};

}  // namespace gatun::GATUN_ISA

#endif
