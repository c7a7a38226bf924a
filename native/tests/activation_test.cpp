/* residual, mix, gelu, swiglu: elementwise rows. */
#include <cmath>

#include "testing.h"

namespace gatun::testing {
namespace {

/* 1, below and above every vector's width, a prime, and one that several threads share. */
const int64_t kCounts[] = {1, 3, 5, 7, 9, 15, 16, 17, 31, 33, 1009, 40009};

/** x / 2 (1 + tanh u) = x / (1 + e^-2u). */
double gelu(double x) {
  return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double silu(double x) {
  return x / (1 + std::exp(-x));
}
double activation(int32_t which, double x) {
  return which == GATUN_SILU ? silu(x) : gelu(x);
}
/** Central difference: error h^2 / 6 f''' below 1e-9. */
double slope(int32_t which, double x) {
  const double h = 1e-4;
  return (activation(which, x + h) - activation(which, x - h)) / (2 * h);
}

TEST(residual_adds_and_may_overwrite_an_input) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t count : kCounts) {
      if (too_large(count, 100)) continue;
      Random random(1);
      const Array x(dtype, count, random), delta(dtype, count, random);
      const auto check = [&](const std::vector<Array> &out) {
        for (int64_t i = 0; i < count; ++i) CHECK_NEAR(out[0][i], x[i] + delta[i], tolerance(dtype, 4), "y", i);
      };
      on_every_table(
          [&](const gatun_kernels &k) {
            Array y(dtype, count);
            CHECK_OK(k.residual_forward(y.data(), x.data(), delta.data(), count, dtype, nullptr));
            return std::vector<Array>{y};
          },
          check);
      on_every_table(
          [&](const gatun_kernels &k) {
            Array y(x);
            CHECK_OK(k.residual_forward(y.data(), y.data(), delta.data(), count, dtype, nullptr));
            return std::vector<Array>{y};
          },
          check);
    }
  }
}

TEST(mix_interpolates) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t count : kCounts) {
      if (too_large(count, 100)) continue;
      Random random(2);
      const Array dst(dtype, count, random), src(dtype, count, random);
      on_every_table(
          [&](const gatun_kernels &k) {
            Array y(dst);
            CHECK_OK(k.mix(y.data(), src.data(), count, 0.6, dtype, nullptr));
            return std::vector<Array>{y};
          },
          [&](const std::vector<Array> &out) {
            for (int64_t i = 0; i < count; ++i) CHECK_NEAR(out[0][i], 0.4 * dst[i] + 0.6 * src[i], tolerance(dtype, 2), "dst", i);
          });
    }
  }
}

TEST(gelu_forward_and_backward) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t count : kCounts) {
      if (too_large(count, 100)) continue;
      Random random(3);
      Array x(dtype, count, random, -9, 9);
      const Array d_y(dtype, count, random);
      on_every_table(
          [&](const gatun_kernels &k) {
            Array y(dtype, count), again(dtype, count), d_x(dtype, count), in_place(d_y);
            CHECK_OK(k.gelu_forward(y.data(), x.data(), count, dtype, nullptr));
            CHECK_OK(k.gelu_backward(d_x.data(), again.data(), d_y.data(), x.data(), count, dtype, nullptr));
            CHECK_OK(k.gelu_backward(in_place.data(), nullptr, in_place.data(), x.data(), count, dtype, nullptr));
            return std::vector<Array>{y, again, d_x, in_place};
          },
          [&](const std::vector<Array> &out) {
            for (int64_t i = 0; i < count; ++i) {
              // Relative to the result, which 1 + tanh would lose in the tail; there e^2u magnifies the rounding of 2u.
              const double y = gelu(x[i]), allowed = tolerance(dtype, std::abs(y)) * (1 + std::abs(x[i] * x[i] * x[i]) / 8);
              CHECK_NEAR(out[0][i], y, allowed, "y", i);
              CHECK_NEAR(out[1][i], out[0][i], 0, "y again", i);
              CHECK_NEAR(out[2][i], d_y[i] * slope(GATUN_GELU_TANH, x[i]), tolerance(dtype, 2) + 1e-7, "d_x", i);
              CHECK_NEAR(out[3][i], out[2][i], 0, "d_x in place", i);
            }
          });
    }
  }
}

TEST(activations_survive_extreme_arguments) {
  const float infinity = INFINITY;
  for (const Table &table : tables()) {
    float x[] = {-infinity, -1e30f, -200, -100, 100, 200, 1e18f, NAN};
    float ones[8], d_x[8], y[8];
    for (float &one : ones) one = 1;
    CHECK_OK(table.kernels->gelu_backward(d_x, y, ones, x, 8, GATUN_F32, nullptr));
    CHECK(std::isnan(y[7]) && std::isnan(d_x[7]), "gelu(NaN) is %g", static_cast<double>(y[7]));
    for (int i = 2; i < 4; ++i) CHECK(std::abs(y[i]) < 1e-35 && std::abs(d_x[i]) < 1e-30, "gelu(%g) is %g, slope %g", x[i], y[i], d_x[i]);
    for (int i = 4; i < 6; ++i) CHECK(y[i] == x[i] && d_x[i] == 1, "gelu(%g) is %g, slope %g", x[i], y[i], d_x[i]);
    float gate_up[] = {-200, 200, 1, 1}, d_gate_up[4], d_y[] = {1, 1}, out[2];
    CHECK_OK(table.kernels->swiglu_backward(d_gate_up, out, d_y, gate_up, 1, 2, GATUN_SILU, GATUN_F32, nullptr));
    CHECK(std::abs(out[0]) < 1e-30f && out[1] == 200 && std::abs(d_gate_up[0]) < 1e-30f && d_gate_up[1] == 1, "silu at -200: %g, at 200: %g", out[0],
          out[1]);
  }
}

TEST(swiglu_and_geglu_forward_and_backward) {
  for (const int32_t which : {GATUN_SILU, GATUN_GELU_TANH}) {
    for (const int32_t dtype : kDtypes) {
      for (const int64_t width : {1, 5, 16, 17, 33, 1009}) {
        for (const int64_t rows : {1, 13}) {
          if (too_large(rows * width, 500)) continue;
          Random random(4);
          const Array gate_up(dtype, rows * 2 * width, random, -6, 6), d_y(dtype, rows * width, random);
          on_every_table(
              [&](const gatun_kernels &k) {
                Array y(dtype, rows * width), again(dtype, rows * width), d(dtype, rows * 2 * width), in_place(gate_up);
                CHECK_OK(k.swiglu_forward(y.data(), gate_up.data(), rows, width, which, dtype, nullptr));
                CHECK_OK(k.swiglu_backward(d.data(), again.data(), d_y.data(), gate_up.data(), rows, width, which, dtype, nullptr));
                CHECK_OK(k.swiglu_backward(in_place.data(), nullptr, d_y.data(), in_place.data(), rows, width, which, dtype, nullptr));
                return std::vector<Array>{y, again, d, in_place};
              },
              [&](const std::vector<Array> &out) {
                for (int64_t r = 0; r < rows; ++r) {
                  for (int64_t i = 0; i < width; ++i) {
                    const double gate = gate_up[r * 2 * width + i], up = gate_up[r * 2 * width + width + i], d = d_y[r * width + i];
                    const double y = activation(which, gate) * up;
                    CHECK_NEAR(out[0][r * width + i], y, tolerance(dtype, std::abs(y) + 1e-4), "y", i);
                    CHECK_NEAR(out[1][r * width + i], out[0][r * width + i], 0, "y again", i);
                    CHECK_NEAR(out[2][r * 2 * width + i], d * up * slope(which, gate), tolerance(dtype, 14) + 1e-6, "d_gate", i);
                    CHECK_NEAR(out[2][r * 2 * width + width + i], d * activation(which, gate), tolerance(dtype, 12), "d_up", i);
                  }
                }
                CHECK(out[3].same_bits(out[2]), "in place differs");
              });
        }
      }
    }
  }
}

TEST(elementwise_rows_refuse_bad_arguments) {
  float x[4] = {};
  for (const Table &table : tables()) {
    const gatun_kernels &k = *table.kernels;
    CHECK_INVALID(k.residual_forward(nullptr, x, x, 4, GATUN_F32, nullptr), "residual_forward: y is NULL");
    CHECK_INVALID(k.residual_forward(x, x, x, -1, GATUN_F32, nullptr), "count is -1");
    CHECK_INVALID(k.residual_forward(x, x, x, 4, GATUN_F16, nullptr), "dtype is 2, expected 0 (f32) or 1 (bf16)");
    CHECK_INVALID(k.mix(x, nullptr, 4, 0.5, GATUN_F32, nullptr), "src is NULL");
    CHECK_INVALID(k.gelu_forward(x, nullptr, 4, GATUN_F32, nullptr), "x is NULL");
    CHECK_INVALID(k.gelu_backward(x, nullptr, nullptr, x, 4, GATUN_F32, nullptr), "d_y is NULL");
    CHECK_INVALID(k.swiglu_forward(x, x, 1, 0, GATUN_SILU, GATUN_F32, nullptr), "width is 0, expected 1 or more");
    CHECK_INVALID(k.swiglu_forward(x, x, 1, 2, 9, GATUN_F32, nullptr), "activation is 9");
    CHECK_INVALID(k.swiglu_backward(nullptr, x, x, x, 1, 2, GATUN_SILU, GATUN_F32, nullptr), "d_gate_up is NULL");
    CHECK_OK(k.residual_forward(nullptr, nullptr, nullptr, 0, GATUN_F32, nullptr));
    CHECK_OK(k.swiglu_forward(nullptr, nullptr, 0, 5, GATUN_SILU, GATUN_BF16, nullptr));
  }
}

}  // namespace
}  // namespace gatun::testing
