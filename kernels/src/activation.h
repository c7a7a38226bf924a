/* activation.h: silu and gelu (tanh approximation) with their derivatives, an element at a time. Formulas as in native/src/activation.h. */
#ifndef GATUN_ACTIVATION_H
#define GATUN_ACTIVATION_H

#include "device.h"

namespace gatun::GATUN_ISA {

struct ValueAndSlope {
  float value;
  float slope;
};

/** s(x) and 1 - s(x) of the logistic function, each to full relative precision. */
struct Logistic {
  float s;
  float one_minus_s;

  static __device__ __forceinline__ Logistic of(float x) {
    // Finite, and so small that the fast reciprocal of 1 + e is not flushed to 0. The sum is not fused with exp's last product, or the
    // forward and the backward pass could round differently.
    const float e = expf(fminf(87.0f, -x));
    const float s = __fdividef(1.0f, __fadd_rn(1.0f, e));
    return {s, e * s};
  }
};

/** silu(x) = x s(x); silu'(x) = s + x s (1 - s). */
struct Silu {
  static __device__ __forceinline__ float value(float x) { return x * Logistic::of(x).s; }
  static __device__ __forceinline__ ValueAndSlope value_and_slope(float x) {
    const Logistic l = Logistic::of(x);
    const float value = x * l.s;
    return {value, fmaf(value, l.one_minus_s, l.s)};
  }
};

/**
 * gelu(x) = x/2 (1 + tanh u) = x s(2u), u = sqrt(2/pi) (x + 0.044715 x^3); gelu'(x) = s + x s (1 - s) 2u'.
 * The logistic form keeps full precision where tanh u is near -1.
 */
struct GeluTanh {
  static constexpr float kTwoSqrt2OverPi = 1.59576912160573071176f;
  static constexpr float kCubic = 0.044715f;

  static __device__ __forceinline__ float twice_u(float x, float square) { return kTwoSqrt2OverPi * x * fmaf(kCubic, square, 1.0f); }
  static __device__ __forceinline__ float value(float x) { return x * Logistic::of(twice_u(x, x * x)).s; }
  static __device__ __forceinline__ ValueAndSlope value_and_slope(float x) {
    const float square = x * x;
    const Logistic l = Logistic::of(twice_u(x, square));
    const float value = x * l.s;
    return {value, fmaf(value * l.one_minus_s, kTwoSqrt2OverPi * fmaf(3.0f * kCubic, square, 1.0f), l.s)};
  }
};

}  // namespace gatun::GATUN_ISA

#endif
