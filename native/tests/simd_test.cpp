#include <cmath>

#include "simd_errors.h"
#include "testing.h"

#if defined(__x86_64__)
namespace gatun::v2 {
SimdErrors simd_errors();
}
namespace gatun::v3 {
SimdErrors simd_errors();
}
namespace gatun::v4 {
SimdErrors simd_errors();
}
namespace gatun::v4_bf16 {
SimdErrors simd_errors();
}
#else
namespace gatun::generic {
SimdErrors simd_errors();
}
#endif

namespace gatun::testing {
namespace {

struct Level {
  const char *isa;
  SimdErrors (*errors)();
};

const Level kLevels[] = {
#if defined(__x86_64__)
    {"v2", v2::simd_errors}, {"v3", v3::simd_errors}, {"v4", v4::simd_errors}, {"v4-bf16", v4_bf16::simd_errors}
#else
    {"generic", generic::simd_errors}
#endif
};

TEST(vector_functions_are_within_their_stated_errors) {
  for (const Level &level : kLevels) {
    if (gatun_cpu_kernels(level.isa) == nullptr) continue;
    const SimdErrors errors = level.errors();
    std::printf("%-8s ulps: exp %.2f (denormal %.2f) tanh %.2f\n", level.isa, errors.exp_ulps, errors.exp_denormal_ulps, errors.tanh_ulps);
    CHECK(errors.exp_ulps <= 1.2, "%s: exp is %.3f ulps off", level.isa, errors.exp_ulps);
    CHECK(errors.exp_denormal_ulps <= 1.1, "%s: exp is %.3f ulps off where it is denormal", level.isa, errors.exp_denormal_ulps);
    CHECK(errors.tanh_ulps <= 1.7, "%s: tanh is %.3f ulps off", level.isa, errors.tanh_ulps);
    CHECK(errors.exp_zero == 1, "exp(0) is %g", static_cast<double>(errors.exp_zero));
    CHECK(errors.exp_minus_infinity == 0, "exp(-inf) is %g", static_cast<double>(errors.exp_minus_infinity));
    CHECK(std::isinf(errors.exp_infinity), "exp(inf) is %g", static_cast<double>(errors.exp_infinity));
    CHECK(std::isnan(errors.exp_nan), "exp(NaN) is %g", static_cast<double>(errors.exp_nan));
    CHECK(errors.tanh_minus_infinity == -1, "tanh(-inf) is %g", static_cast<double>(errors.tanh_minus_infinity));
    CHECK(std::isnan(errors.tanh_nan), "tanh(NaN) is %g", static_cast<double>(errors.tanh_nan));
  }
}

}  // namespace
}  // namespace gatun::testing
