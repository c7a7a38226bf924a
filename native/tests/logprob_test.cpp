#include <algorithm>
#include <cmath>
#include <iterator>

#include "testing.h"

namespace gatun::testing {
namespace {

struct Case {
  int64_t rows, vocab, padding;
  float softcap;
  double spread;
};
const Case kCases[] = {{1, 1, 0, 0, 3},    {3, 2, 1, 0, 3},       {5, 17, 0, 0, 20},     {4, 63, 1, 30, 60},      {3, 2048, 0, 0, 5},
                       {2, 2049, 7, 0, 9}, {7, 6151, 0, 50, 100}, {9, 12289, 2, 0, 400}, {12, 4099, 0, 0, 0.001}, {2, 50257, 0, 0, 12}};

std::vector<Case> cases() {
  std::vector<Case> all(std::begin(kCases), std::end(kCases));
  if constexpr (kDetectsRaces) {
    for (Case &c : all) c.rows = std::min<int64_t>(c.rows, 2);
  }
  return all;
}

/** Rows have 0, 1 or 2 predictions in turn, as padding, an answer's token and the last prompt token have. */
struct Inputs {
  explicit Inputs(const Case &c) : random(14), stride(c.vocab + c.padding), logits(GATUN_F32, c.rows * stride, random, -c.spread, c.spread) {
    begin.push_back(0);
    for (int64_t r = 0; r < c.rows; ++r) {
      for (int64_t n = (r + 1) % 3; n > 0; --n) {
        targets.push_back(random.below(c.vocab));
        d_log_prob.push_back(static_cast<float>(random.uniform(-1, 1)));
      }
      begin.push_back(static_cast<int32_t>(targets.size()));
      if (c.vocab > 20) {  // two equal largest: the first counts
        const int32_t first = random.below(c.vocab / 2), second = first + 1 + random.below(c.vocab / 3);
        logits.set(r * stride + first, c.spread * 1.1);
        logits.set(r * stride + second, c.spread * 1.1);
      }
    }
    targets.push_back(0);  // never empty, so that data() is not NULL
    d_log_prob.push_back(0);
  }
  Random random;
  int64_t stride;
  Array logits;
  std::vector<int32_t> begin, targets;
  std::vector<float> d_log_prob;

  double z(const Case &c, int64_t r, int64_t j) const {
    const double x = logits[r * stride + j];
    return c.softcap > 0 ? c.softcap * std::tanh(x / c.softcap) : x;
  }
  double lse(const Case &c, int64_t r) const {
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < c.vocab; ++j) most = std::fmax(most, z(c, r, j));
    for (int64_t j = 0; j < c.vocab; ++j) sum += std::exp(z(c, r, j) - most);
    return most + std::log(sum);
  }
};

TEST(logprob_forward_is_right_in_every_output) {
  for (const Case &c : cases()) {
    Inputs in(c);
    const int64_t predictions = in.begin.back();
    on_every_table(
        [&](const gatun_kernels &k) {
          Array log_prob(GATUN_F32, predictions), lse(GATUN_F32, c.rows), entropy(GATUN_F32, c.rows), mean(GATUN_F32, c.rows);
          Array square(GATUN_F32, c.rows), lse_only(GATUN_F32, c.rows), log_prob_again(GATUN_F32, predictions), argmax(GATUN_F32, c.rows);
          CHECK_OK(k.logprob_forward(log_prob.floats(), lse.floats(), entropy.floats(), static_cast<int32_t *>(argmax.data()), mean.floats(),
                                     square.floats(), in.logits.floats(), in.begin.data(), in.targets.data(), c.rows, c.vocab, in.stride, c.softcap,
                                     nullptr));
          CHECK_OK(k.logprob_forward(log_prob_again.floats(), lse_only.floats(), nullptr, nullptr, nullptr, nullptr, in.logits.floats(),
                                     in.begin.data(), in.targets.data(), c.rows, c.vocab, in.stride, c.softcap, nullptr));
          return std::vector<Array>{log_prob, lse, entropy, mean, square, argmax, lse_only, log_prob_again};
        },
        [&](const std::vector<Array> &out) {
          for (int64_t r = 0; r < c.rows; ++r) {
            const double lse = in.lse(c, r);
            double entropy = lse, mean = 0, squares = 0;
            int64_t argmax = 0;
            for (int64_t j = 0; j < c.vocab; ++j) {
              const double z = in.z(c, r, j), p = std::exp(z - lse);
              entropy -= p * z;
              mean += z / static_cast<double>(c.vocab);
              squares += p * p;
              if (in.logits[r * in.stride + j] > in.logits[r * in.stride + argmax]) argmax = j;
            }
            // Exponentials and sums round relative to 1, z itself relative to the spread of the logits.
            const double allowed = 2e-6 + 2e-7 * c.spread;
            CHECK_NEAR(out[1][r], lse, allowed, "lse", r);
            CHECK_NEAR(out[2][r], entropy, allowed * 4, "entropy", r);
            CHECK_NEAR(out[3][r], mean, allowed, "mean", r);
            CHECK_NEAR(out[4][r], std::log(squares), allowed * 4, "log_sum_square", r);
            const int32_t got = static_cast<const int32_t *>(out[5].data())[r];
            CHECK(got == argmax, "argmax[%d] is %d, expected %d", static_cast<int>(r), got, static_cast<int>(argmax));
            for (int32_t n = in.begin[r]; n < in.begin[r + 1]; ++n) CHECK_NEAR(out[0][n], in.z(c, r, in.targets[n]) - lse, allowed, "log_prob", n);
          }
          CHECK(out[6].same_bits(out[1]) && out[7].same_bits(out[0]), "lse alone differs from lse with the other outputs");
        });
  }
}

TEST(logprob_backward_is_right_and_may_overwrite_the_logits) {
  for (const int32_t dtype : kDtypes) {
    for (const Case &c : cases()) {
      Inputs in(c);
      // In place, rows must have the same number of bytes, so bf16 rows are twice as long.
      const int64_t in_place_stride = dtype == GATUN_F32 ? in.stride : 2 * in.stride;
      on_every_table(
          [&](const gatun_kernels &k) {
            Array lse(GATUN_F32, c.rows), d(dtype, c.rows * (c.vocab + 3)), in_place(in.logits);
            std::vector<float> log_prob(in.targets.size());
            CHECK_OK(k.logprob_forward(log_prob.data(), lse.floats(), nullptr, nullptr, nullptr, nullptr, in.logits.floats(), in.begin.data(),
                                       in.targets.data(), c.rows, c.vocab, in.stride, c.softcap, nullptr));
            CHECK_OK(k.logprob_backward(d.data(), in.logits.floats(), lse.floats(), in.d_log_prob.data(), in.begin.data(), in.targets.data(), c.rows,
                                        c.vocab, c.vocab + 3, in.stride, c.softcap, dtype, nullptr));
            CHECK_OK(k.logprob_backward(in_place.data(), in_place.floats(), lse.floats(), in.d_log_prob.data(), in.begin.data(), in.targets.data(),
                                        c.rows, c.vocab, in_place_stride, in.stride, c.softcap, dtype, nullptr));
            return std::vector<Array>{d, in_place};
          },
          [&](const std::vector<Array> &out) {
            for (int64_t r = 0; r < c.rows; ++r) {
              const double lse = in.lse(c, r);
              for (int64_t j = 0; j < c.vocab; ++j) {
                const double z = in.z(c, r, j), p = std::exp(z - lse);
                double want = 0, magnitude = 0;
                for (int32_t n = in.begin[r]; n < in.begin[r + 1]; ++n) {
                  want += in.d_log_prob[n] * ((in.targets[n] == j ? 1 : 0) - p);
                  magnitude += std::abs(in.d_log_prob[n]);
                }
                if (c.softcap > 0) want *= 1 - z / c.softcap * (z / c.softcap);
                const double allowed = tolerance(GATUN_F32, magnitude * (1 + c.spread / 10)) + (dtype == GATUN_BF16 ? std::abs(want) * 0x1p-8 : 0);
                CHECK_NEAR(out[0][r * (c.vocab + 3) + j], want, allowed, "d_logits", j);
                const char *bytes = static_cast<const char *>(out[1].data()) + r * in.stride * 4;
                float in_place;
                uint16_t half;
                if (dtype == GATUN_F32) {
                  std::memcpy(&in_place, bytes + 4 * j, 4);
                } else {
                  std::memcpy(&half, bytes + 2 * j, 2);
                  in_place = bf16_to_float(half);
                }
                CHECK_NEAR(in_place, out[0][r * (c.vocab + 3) + j], 0, "d_logits in place", j);
              }
            }
          });
    }
  }
}

TEST(masked_logits_count_as_zero_probability) {
  const float infinity = INFINITY;
  for (const Table &table : tables()) {
    std::vector<float> logits(5000, -infinity);
    logits[3000] = 1;
    logits[4999] = 1;
    const int32_t begin[] = {0, 1}, targets[] = {4999};
    float log_prob, lse, entropy, mean, square;
    int32_t argmax;
    CHECK_OK(
        table.kernels->logprob_forward(&log_prob, &lse, &entropy, &argmax, &mean, &square, logits.data(), begin, targets, 1, 5000, 5000, 0, nullptr));
    CHECK_NEAR(log_prob, -std::log(2), 1e-6, "log_prob", 0);
    CHECK_NEAR(entropy, std::log(2), 1e-6, "entropy", 0);
    CHECK_NEAR(square, -std::log(2), 1e-6, "log_sum_square", 0);
    CHECK(argmax == 3000, "argmax is %d", argmax);
  }
}

TEST(a_nan_logit_is_not_hidden) {
  for (const Table &table : tables()) {
    for (const int64_t at : {0, 5, 2500, 4998}) {
      std::vector<float> logits(4999, 0.5f);
      logits[at] = NAN;
      const int32_t begin[] = {0, 1}, targets[] = {7};
      float log_prob, lse;
      CHECK_OK(table.kernels->logprob_forward(&log_prob, &lse, nullptr, nullptr, nullptr, nullptr, logits.data(), begin, targets, 1, 4999, 4999, 0,
                                              nullptr));
      CHECK(std::isnan(lse) && std::isnan(log_prob), "NaN at %d: lse %g", static_cast<int>(at), static_cast<double>(lse));
    }
  }
}

TEST(a_chunk_of_rows_touches_its_own_predictions_alone) {
  const Case c = {6, 40, 0, 0, 3};
  Inputs in(c);
  const int64_t predictions = in.begin.back(), skipped = 3;
  for (const Table &table : tables()) {
    Array whole(GATUN_F32, predictions), chunk(GATUN_F32, predictions), lse(GATUN_F32, c.rows), chunk_lse(GATUN_F32, c.rows - skipped);
    Array d_whole(GATUN_F32, c.rows * c.vocab), d_chunk(GATUN_F32, (c.rows - skipped) * c.vocab);
    CHECK_OK(table.kernels->logprob_forward(whole.floats(), lse.floats(), nullptr, nullptr, nullptr, nullptr, in.logits.floats(), in.begin.data(),
                                            in.targets.data(), c.rows, c.vocab, in.stride, 0, nullptr));
    CHECK_OK(table.kernels->logprob_forward(chunk.floats(), chunk_lse.floats(), nullptr, nullptr, nullptr, nullptr,
                                            in.logits.floats() + skipped * in.stride, in.begin.data() + skipped, in.targets.data(), c.rows - skipped,
                                            c.vocab, in.stride, 0, nullptr));
    CHECK_OK(table.kernels->logprob_backward(d_whole.data(), in.logits.floats(), lse.floats(), in.d_log_prob.data(), in.begin.data(),
                                             in.targets.data(), c.rows, c.vocab, c.vocab, in.stride, 0, GATUN_F32, nullptr));
    CHECK_OK(table.kernels->logprob_backward(d_chunk.data(), in.logits.floats() + skipped * in.stride, chunk_lse.floats(), in.d_log_prob.data(),
                                             in.begin.data() + skipped, in.targets.data(), c.rows - skipped, c.vocab, c.vocab, in.stride, 0,
                                             GATUN_F32, nullptr));
    for (int64_t n = 0; n < predictions; ++n) CHECK_NEAR(chunk[n], n < in.begin[skipped] ? -77 : whole[n], 0, "log_prob", n);
    for (int64_t i = 0; i < d_chunk.count(); ++i) CHECK_NEAR(d_chunk[i], d_whole[skipped * c.vocab + i], 0, "d_logits", i);
  }
}

TEST(logprob_refuses_bad_arguments) {
  float x[16] = {};
  const int32_t begin[] = {0, 1, 2}, falling[] = {0, 2, 1}, negative[] = {-1, 1, 2}, targets[] = {0, 4};
  for (const Table &table : tables()) {
    const gatun_kernels &k = *table.kernels;
    if constexpr (kChecksIndices) {
      CHECK_INVALID(k.logprob_forward(x, x, nullptr, nullptr, nullptr, nullptr, x, begin, targets, 2, 4, 4, 0, nullptr),
                    "targets[1] is 4, expected 0 to 3");
      CHECK_INVALID(k.logprob_forward(x, x, nullptr, nullptr, nullptr, nullptr, x, falling, targets, 2, 4, 4, 0, nullptr),
                    "prediction_begin[2] is 1");
      CHECK_INVALID(k.logprob_forward(x, x, nullptr, nullptr, nullptr, nullptr, x, negative, targets, 2, 4, 4, 0, nullptr),
                    "prediction_begin[0] is -1");
    }
    CHECK_INVALID(k.logprob_forward(x, nullptr, nullptr, nullptr, nullptr, nullptr, x, begin, targets, 2, 8, 8, 0, nullptr), "lse is NULL");
    CHECK_INVALID(k.logprob_backward(x, x, x, x, begin, targets, 2, 8, 8, 8, 0, GATUN_BF16, nullptr),
                  "d_logits is logits with rows of 16 bytes, expected");
    CHECK_INVALID(k.logprob_backward(x, x, x, nullptr, begin, targets, 2, 8, 8, 8, 0, GATUN_F32, nullptr), "d_log_prob is NULL");
  }
}

}  // namespace
}  // namespace gatun::testing
