/* bias and gradnorm: sums over many rows. */
#include <cmath>

#include "testing.h"

namespace gatun::testing {
namespace {

TEST(bias_backward_sums_columns) {
  struct Case {
    int64_t rows, columns, stride;
  };
  for (const int32_t dtype : kDtypes) {
    for (const Case c : {Case{1, 1, 1}, Case{15, 17, 20}, Case{1031, 3, 3}, Case{700, 300, 301}, Case{65, 1024, 1024}}) {
      if (too_large(c.rows * c.columns, 70000)) continue;
      Random random(11);
      const Array d_y(dtype, c.rows * c.stride, random), before(GATUN_F32, c.columns, random);
      on_every_table(
          [&](const gatun_kernels &k) {
            Array d_bias(before), workspace = workspace_for(k, c.rows, c.columns);
            CHECK_OK(k.bias_backward(d_bias.floats(), d_y.data(), c.rows, c.columns, c.stride, dtype, workspace.data(), nullptr));
            CHECK(workspace.intact(), "workspace is too small");
            return std::vector<Array>{d_bias};
          },
          [&](const std::vector<Array> &out) {
            for (int64_t i = 0; i < c.columns; ++i) {
              double sum = before[i];
              for (int64_t r = 0; r < c.rows; ++r) sum += d_y[r * c.stride + i];
              CHECK_NEAR(out[0][i], sum, tolerance(GATUN_F32, 2 * std::sqrt(static_cast<double>(c.rows))), "d_bias", i);
            }
          });
    }
  }
}

TEST(gradnorm_is_exact_to_double_and_clips) {
  for (const int64_t count : {0, 1, 31, 4095, 4097, 300007}) {
    if (too_large(count, 5000)) continue;
    Random random(12);
    Array gradient(GATUN_F32, count, random, -1, 1);
    if (count > 0) gradient.set(0, 1e20);  // its square overflows f32
    double squares = 0;
    for (int64_t i = 0; i < count; ++i) squares += gradient[i] * gradient[i];
    const double norm = std::sqrt(squares);
    on_every_table(
        [&](const gatun_kernels &k) {
          Array clipped(GATUN_F32, 2), loose(GATUN_F32, 2), off(GATUN_F32, 2), workspace = workspace_for(k, 1, 1);
          CHECK_OK(k.gradnorm(clipped.floats(), gradient.floats(), count, 0.25f, workspace.data(), nullptr));
          CHECK_OK(k.gradnorm(loose.floats(), gradient.floats(), count, 1e30f, workspace.data(), nullptr));
          CHECK_OK(k.gradnorm(off.floats(), gradient.floats(), count, 0, workspace.data(), nullptr));
          CHECK(workspace.intact(), "workspace is too small");
          return std::vector<Array>{clipped, loose, off};
        },
        [&](const std::vector<Array> &out) {
          CHECK_NEAR(out[0][0], norm, norm * 0x1p-23, "norm", 0);
          CHECK_NEAR(out[0][1], std::fmin(1, 0.25f / (norm + 1e-6)), 0x1p-23, "scale", 0);
          CHECK_NEAR(out[1][1], 1, 0, "scale", 0);
          CHECK_NEAR(out[2][1], 1, 0, "scale without clipping", 0);
        });
  }
}

TEST(a_nan_gradient_is_not_hidden) {
  for (const Table &table : tables()) {
    float gradient[] = {1, NAN, 2}, out[2];
    Array workspace = workspace_for(*table.kernels, 1, 1);
    CHECK_OK(table.kernels->gradnorm(out, gradient, 3, 1, workspace.data(), nullptr));
    CHECK(std::isnan(out[0]) && std::isnan(out[1]), "norm %g, scale %g", static_cast<double>(out[0]), static_cast<double>(out[1]));
  }
}

TEST(sums_refuse_bad_arguments) {
  float x[8] = {};
  for (const Table &table : tables()) {
    CHECK_INVALID(table.kernels->bias_backward(x, x, 2, 4, 3, GATUN_F32, x, nullptr), "d_y_stride is 3");
    CHECK_INVALID(table.kernels->bias_backward(x, x, 2, 4, 4, GATUN_F32, nullptr, nullptr), "workspace is NULL");
    CHECK_INVALID(table.kernels->gradnorm(nullptr, x, 2, 1, x, nullptr), "norm_and_scale is NULL");
    CHECK_INVALID(table.kernels->gradnorm(x, x, -2, 1, x, nullptr), "count is -2");
  }
}

}  // namespace
}  // namespace gatun::testing
