#include "simd_errors.h"

#include <cmath>
#include <limits>

#include "simd.h"

namespace gatun::GATUN_ISA {
namespace {

/** |got - want| in units in the last place of a float near want. */
double ulps(float got, double want) {
  int exponent;
  std::frexp(want, &exponent);
  const double unit = std::ldexp(1.0, (exponent < -125 ? -125 : exponent) - 24);
  return std::fabs(static_cast<double>(got) - want) / unit;
}

template <class Got, class Want>
double largest_error(double low, double high, int steps, const Got &got, const Want &want) {
  double worst = 0;
  for (int i = 0; i < steps; ++i) {
    const float x = static_cast<float>(low + (high - low) * i / (steps - 1));
    const double error = ulps(got(splat(x))[i % kLanes], want(static_cast<double>(x)));
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

}  // namespace

SimdErrors simd_errors() {
  const auto vector_exp = [](floats x) { return exp(x); };
  const auto vector_tanh = [](floats x) { return tanh(x); };
  const auto double_exp = [](double x) { return std::exp(x); };
  const auto double_tanh = [](double x) { return std::tanh(x); };
  constexpr int kSteps = 100003;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  SimdErrors errors;
  errors.exp_ulps = std::fmax(largest_error(-87.3, 88.7, kSteps, vector_exp, double_exp), largest_error(-1, 1, kSteps, vector_exp, double_exp));
  errors.exp_denormal_ulps = largest_error(-103.9, -87.4, kSteps, vector_exp, double_exp);
  errors.tanh_ulps = std::fmax(largest_error(-12, 12, kSteps, vector_tanh, double_tanh), largest_error(-0.6, 0.6, kSteps, vector_tanh, double_tanh));
  errors.exp_zero = exp(splat(0))[0];
  errors.exp_minus_infinity = exp(splat(-kInfinity))[0];
  errors.exp_infinity = exp(splat(kInfinity))[0];
  errors.exp_nan = exp(splat(std::numeric_limits<float>::quiet_NaN()))[0];
  errors.tanh_minus_infinity = tanh(splat(-kInfinity))[0];
  errors.tanh_nan = tanh(splat(std::numeric_limits<float>::quiet_NaN()))[0];
  return errors;
}

}  // namespace gatun::GATUN_ISA
