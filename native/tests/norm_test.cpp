/* rmsnorm and layernorm against double formulas; their gradients against central differences of the double forward pass. */
#include <cmath>
#include <functional>

#include "testing.h"

namespace gatun::testing {
namespace {

struct Case {
  int64_t tokens, groups, dim, padding;  // padding: elements between rows
};
const Case kCases[] = {{1, 1, 1, 0},     {3, 1, 17, 5},   {2, 3, 8, 0},   {7, 2, 33, 3},    {129, 1, 64, 0},
                       {67, 1, 1031, 9}, {40, 4, 96, 32}, {5, 1, 896, 0}, {3, 1, 2048, 16}, {2, 1, 5003, 0}};
/** One row for every way in which threads share it. */
const Case kRacyCases[] = {{2, 3, 8, 0}, {5, 1, 17, 1}, {3, 1, 264, 0}};
/** Rows that a GPU's threads cannot hold, and more rows than they take at once. Emulated these take long: not in all variants. */
const Case kLongRows[] = {{1, 1, 16384, 16}, {1, 1, 16392, 0}};
const Case kManyRows = {900, 1, 520, 0};

std::vector<Case> cases(int32_t dtype, bool with_delta) {
  if constexpr (kDetectsRaces) return {std::begin(kRacyCases), std::end(kRacyCases)};
  std::vector<Case> all(std::begin(kCases), std::end(kCases));
  if (with_delta) all.insert(all.end(), std::begin(kLongRows), std::end(kLongRows));
  if (with_delta && dtype == GATUN_BF16) all.push_back(kManyRows);
  return all;
}

struct Normalized {
  std::vector<double> y;
  double mean, rstd;
};

/** One row; mean stays 0 for rmsnorm. */
Normalized normalize(const std::vector<double> &x, const std::vector<double> &w, const std::vector<double> &b, double eps, bool centre) {
  const double n = static_cast<double>(x.size());
  double mean = 0, squares = 0;
  if (centre) {
    for (const double v : x) mean += v / n;
  }
  for (const double v : x) squares += (v - mean) * (v - mean);
  Normalized out{{}, mean, 1 / std::sqrt(squares / n + eps)};
  for (size_t i = 0; i < x.size(); ++i) out.y.push_back((x[i] - mean) * out.rstd * w[i] + b[i]);
  return out;
}

/** Gradient by x of sum d_y y, by the chain rule through mean and variance, term by term in double. */
std::vector<double> gradient(const std::vector<double> &x, const std::vector<double> &w, const std::vector<double> &d_y, const Normalized &f,
                             bool centre) {
  const double n = static_cast<double>(x.size());
  double d_rstd = 0, d_mean = 0;
  for (size_t i = 0; i < x.size(); ++i) d_rstd += d_y[i] * w[i] * (x[i] - f.mean);
  const double d_variance = d_rstd * -0.5 * f.rstd * f.rstd * f.rstd;
  std::vector<double> d_x(x.size());
  for (size_t i = 0; i < x.size(); ++i) d_mean -= d_y[i] * w[i] * f.rstd + 2 * d_variance * (x[i] - f.mean) / n;
  for (size_t i = 0; i < x.size(); ++i) {
    d_x[i] = d_y[i] * w[i] * f.rstd + 2 * d_variance * (x[i] - f.mean) / n + (centre ? d_mean / n : 0);
  }
  return d_x;
}

TEST(the_reference_gradient_is_the_central_difference) {
  Random random(8);
  for (const bool centre : {false, true}) {
    std::vector<double> x, w, b, d_y;
    for (int i = 0; i < 9; ++i) {
      x.push_back(random.uniform(-2, 2));
      w.push_back(random.uniform(-2, 2));
      b.push_back(0);
      d_y.push_back(random.uniform(-2, 2));
    }
    const std::vector<double> d_x = gradient(x, w, d_y, normalize(x, w, b, 1e-5, centre), centre);
    for (int i = 0; i < 9; ++i) {
      double difference = 0;
      for (const double h : {1e-5, -1e-5}) {
        std::vector<double> moved = x;
        moved[i] += h;
        const std::vector<double> y = normalize(moved, w, b, 1e-5, centre).y;
        for (int j = 0; j < 9; ++j) difference += d_y[j] * y[j] / (2 * h);
      }
      CHECK_NEAR(d_x[i], difference, 1e-7, "d_x", i);
    }
  }
}

TEST(rmsnorm_forward_and_backward) {
  for (const int32_t dtype : kDtypes) {
    for (const bool with_delta : {false, true}) {
      for (const Case &c : cases(dtype, with_delta)) {
        Random random(9);
        const int64_t width = c.groups * c.dim, x_stride = width + c.padding, y_stride = width + 2 * c.padding, rows = c.tokens * c.groups;
        const int64_t x_count = c.tokens * x_stride, y_count = c.tokens * y_stride;
        const Array x(dtype, x_count, random), delta(dtype, x_count, random), weight(dtype, c.dim, random), d_y(dtype, y_count, random);
        const Array d_residual(dtype, x_count, random), d_weight_before(GATUN_F32, c.dim, random);
        const float offset = 1.0f, eps = 1e-5f;
        on_every_table(
            [&](const gatun_kernels &k) {
              Array y(dtype, y_count), sum(delta), rstd(GATUN_F32, rows), d_x(dtype, x_count), in_place(d_residual), d_weight(d_weight_before);
              Array d_weight_again(d_weight_before), workspace = workspace_for(k, c.tokens, c.dim);
              // The sum overwrites delta.
              CHECK_OK(k.rmsnorm_forward(y.data(), with_delta ? sum.data() : nullptr, rstd.floats(), x.data(), with_delta ? sum.data() : nullptr,
                                         weight.data(), c.tokens, c.groups, c.dim, y_stride, x_stride, eps, offset, dtype, nullptr));
              const void *normalized = with_delta ? sum.data() : x.data();
              CHECK_OK(k.rmsnorm_backward(d_x.data(), d_weight.floats(), d_y.data(), normalized, weight.data(), rstd.floats(), nullptr, c.tokens,
                                          c.groups, c.dim, x_stride, y_stride, x_stride, offset, dtype, workspace.data(), nullptr));
              CHECK_OK(k.rmsnorm_backward(in_place.data(), d_weight_again.floats(), d_y.data(), normalized, weight.data(), rstd.floats(),
                                          in_place.data(), c.tokens, c.groups, c.dim, x_stride, y_stride, x_stride, offset, dtype, workspace.data(),
                                          nullptr));
              return std::vector<Array>{y, sum, rstd, d_x, in_place, d_weight, d_weight_again};
            },
            [&](const std::vector<Array> &out) {
              std::vector<double> w, b(c.dim), d_weight;
              for (int64_t i = 0; i < c.dim; ++i) {
                w.push_back(weight[i] + offset);
                d_weight.push_back(d_weight_before[i]);
              }
              for (int64_t row = 0; row < rows; ++row) {
                const int64_t x_at = row / c.groups * x_stride + row % c.groups * c.dim, y_at = row / c.groups * y_stride + row % c.groups * c.dim;
                std::vector<double> s, d_out;
                for (int64_t i = 0; i < c.dim; ++i) {
                  if (with_delta) CHECK_NEAR(out[1][x_at + i], x[x_at + i] + delta[x_at + i], tolerance(dtype, 4), "sum", x_at + i);
                  s.push_back(with_delta ? out[1][x_at + i] : x[x_at + i]);
                  d_out.push_back(d_y[y_at + i]);
                }
                const Normalized want = normalize(s, w, b, eps, false);
                const std::vector<double> d_s = gradient(s, w, d_out, want, false);
                CHECK_NEAR(out[2][row], want.rstd, tolerance(GATUN_F32, want.rstd), "rstd", row);
                for (int64_t i = 0; i < c.dim; ++i) {
                  CHECK_NEAR(out[0][y_at + i], want.y[i], tolerance(dtype, std::abs(want.y[i]) + 1), "y", y_at + i);
                  const double allowed = tolerance(dtype, 8 * want.rstd);
                  CHECK_NEAR(out[3][x_at + i], d_s[i], allowed, "d_x", x_at + i);
                  CHECK_NEAR(out[4][x_at + i], d_s[i] + d_residual[x_at + i], allowed + tolerance(dtype, 4), "d_x with d_residual", x_at + i);
                  d_weight[i] += d_out[i] * s[i] * want.rstd;
                }
              }
              for (int64_t i = 0; i < c.dim; ++i) {
                CHECK_NEAR(out[5][i], d_weight[i], tolerance(GATUN_F32, 10 + 4 * std::sqrt(static_cast<double>(rows))), "d_weight", i);
              }
              CHECK(out[6].same_bits(out[5]), "d_weight differs with d_residual");
              for (int64_t t = 0; t < c.tokens; ++t) {
                for (int64_t i = width; i < y_stride; ++i) CHECK_NEAR(out[0][t * y_stride + i], -77, 0.5, "between rows of y", i);
                for (int64_t i = width; i < x_stride; ++i) CHECK_NEAR(out[3][t * x_stride + i], -77, 0.5, "between rows of d_x", i);
              }
            });
      }
    }
  }
}

TEST(layernorm_forward_and_backward) {
  for (const int32_t dtype : kDtypes) {
    for (const bool with_delta : {false, true}) {
      for (const Case &c : cases(dtype, with_delta)) {
        Random random(10);
        const int64_t count = c.tokens * c.dim;
        const Array x(dtype, count, random, -1, 3), delta(dtype, count, random), weight(dtype, c.dim, random), bias(dtype, c.dim, random);
        const Array d_y(dtype, count, random), d_residual(dtype, count, random), before(GATUN_F32, c.dim, random);
        const float eps = 1e-5f;
        on_every_table(
            [&](const gatun_kernels &k) {
              Array y(dtype, count), sum(x), mean(GATUN_F32, c.tokens), rstd(GATUN_F32, c.tokens), d_x(dtype, count), in_place(d_y);
              Array d_weight(before), d_bias(before), d_weight_again(before), d_bias_again(before), workspace = workspace_for(k, c.tokens, c.dim);
              // The sum overwrites x.
              CHECK_OK(k.layernorm_forward(y.data(), with_delta ? sum.data() : nullptr, mean.floats(), rstd.floats(), sum.data(),
                                           with_delta ? delta.data() : nullptr, weight.data(), bias.data(), c.tokens, c.dim, eps, dtype, nullptr));
              CHECK_OK(k.layernorm_backward(d_x.data(), d_weight.floats(), d_bias.floats(), d_y.data(), sum.data(), weight.data(), mean.floats(),
                                            rstd.floats(), d_residual.data(), c.tokens, c.dim, dtype, workspace.data(), nullptr));
              CHECK_OK(k.layernorm_backward(in_place.data(), d_weight_again.floats(), d_bias_again.floats(), in_place.data(), sum.data(),
                                            weight.data(), mean.floats(), rstd.floats(), nullptr, c.tokens, c.dim, dtype, workspace.data(), nullptr));
              return std::vector<Array>{y, sum, mean, rstd, d_x, in_place, d_weight, d_bias, d_weight_again, d_bias_again};
            },
            [&](const std::vector<Array> &out) {
              std::vector<double> w, b, d_weight, d_bias;
              for (int64_t i = 0; i < c.dim; ++i) {
                w.push_back(weight[i]);
                b.push_back(bias[i]);
                d_weight.push_back(before[i]);
                d_bias.push_back(before[i]);
              }
              for (int64_t t = 0; t < c.tokens; ++t) {
                std::vector<double> s, d_out;
                for (int64_t i = t * c.dim; i < (t + 1) * c.dim; ++i) {
                  if (with_delta) CHECK_NEAR(out[1][i], x[i] + delta[i], tolerance(dtype, 5), "sum", i);
                  s.push_back(out[1][i]);
                  d_out.push_back(d_y[i]);
                }
                const Normalized want = normalize(s, w, b, eps, true);
                const std::vector<double> d_s = gradient(s, w, d_out, want, true);
                CHECK_NEAR(out[2][t], want.mean, tolerance(GATUN_F32, 5), "mean", t);
                CHECK_NEAR(out[3][t], want.rstd, tolerance(GATUN_F32, want.rstd), "rstd", t);
                for (int64_t i = 0; i < c.dim; ++i) {
                  // rstd is 316 where a row is constant; it magnifies the rounding of the mean.
                  const double scale = 1 + 5 * want.rstd;
                  CHECK_NEAR(out[0][t * c.dim + i], want.y[i], tolerance(dtype, scale + std::abs(want.y[i])), "y", t * c.dim + i);
                  CHECK_NEAR(out[4][t * c.dim + i], d_s[i] + d_residual[t * c.dim + i], tolerance(dtype, 4 + 10 * want.rstd), "d_x", t * c.dim + i);
                  CHECK_NEAR(out[5][t * c.dim + i], d_s[i], tolerance(dtype, 10 * want.rstd), "d_x in place", t * c.dim + i);
                  d_weight[i] += d_out[i] * (s[i] - want.mean) * want.rstd;
                  d_bias[i] += d_out[i];
                }
              }
              for (int64_t i = 0; i < c.dim; ++i) {
                const double scale = 10 + 4 * std::sqrt(static_cast<double>(c.tokens));
                CHECK_NEAR(out[6][i], d_weight[i], tolerance(GATUN_F32, scale + (c.dim == 1 ? 3000 : 0)), "d_weight", i);
                CHECK_NEAR(out[7][i], d_bias[i], tolerance(GATUN_F32, scale), "d_bias", i);
              }
              CHECK(out[8].same_bits(out[6]) && out[9].same_bits(out[7]), "parameter gradients differ without d_residual");
            });
      }
    }
  }
}

TEST(norms_refuse_bad_arguments) {
  float x[16] = {};
  for (const Table &table : tables()) {
    const gatun_kernels &k = *table.kernels;
    CHECK_INVALID(k.rmsnorm_forward(x, nullptr, x, x, x, x, 1, 1, 4, 4, 4, 1e-5f, 0, GATUN_F32, nullptr), "sum is NULL but delta is not");
    CHECK_INVALID(k.rmsnorm_forward(x, nullptr, x, x, nullptr, x, 1, 2, 4, 8, 7, 1e-5f, 0, GATUN_F32, nullptr), "x_stride is 7, expected at least 8");
    CHECK_INVALID(k.rmsnorm_forward(x, nullptr, x, x, nullptr, nullptr, 1, 1, 4, 4, 4, 1e-5f, 0, GATUN_F32, nullptr), "weight is NULL");
    CHECK_INVALID(k.rmsnorm_backward(x, x, x, x, x, nullptr, nullptr, 1, 1, 4, 4, 4, 4, 0, GATUN_F32, x, nullptr), "rstd is NULL");
    CHECK_INVALID(k.rmsnorm_backward(x, x, x, x, x, x, nullptr, 1, 1, 4, 4, 4, 4, 0, GATUN_F32, nullptr, nullptr), "workspace is NULL");
    CHECK_INVALID(k.layernorm_forward(x, nullptr, x, x, x, nullptr, x, nullptr, 1, 4, 1e-5f, GATUN_F32, nullptr), "bias is NULL");
    CHECK_INVALID(k.layernorm_backward(x, x, x, x, x, x, x, x, nullptr, 1, 0, GATUN_F32, x, nullptr), "dim is 0");
    CHECK_OK(k.rmsnorm_forward(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 1, 4, 4, 4, 1e-5f, 0, GATUN_F32, nullptr));
  }
}

}  // namespace
}  // namespace gatun::testing
