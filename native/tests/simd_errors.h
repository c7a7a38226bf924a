/* simd_errors.h: errors of one instruction set's vector functions against libm in double. */
#ifndef GATUN_SIMD_ERRORS_H
#define GATUN_SIMD_ERRORS_H

/** Largest errors in units in the last place of the exact result, over a sweep of arguments; results at special arguments. */
struct SimdErrors {
  double exp_ulps;
  double exp_denormal_ulps;
  double tanh_ulps;
  float exp_zero, exp_minus_infinity, exp_infinity, exp_nan;
  float tanh_minus_infinity, tanh_nan;
};

#endif
