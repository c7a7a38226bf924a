/* adamw, rmsprop, sgd against torch's formulas in double; split_master and join_master bit for bit. */
#include <algorithm>
#include <cmath>

#include "testing.h"

namespace gatun::testing {
namespace {

constexpr int kSteps = 3;
const int64_t kCounts[] = {1, 17, 1009, 50021};

enum class Storage { kF32, kBf16, kSplit };

/** Weights in one of the three ways of storing them. */
struct Weights {
  Weights(Storage how, const std::vector<float> &values, const gatun_kernels &k)
      : storage(how), weight(dtype(), static_cast<int64_t>(values.size())), remainder(GATUN_BF16, weight.count()) {
    CHECK_OK(k.split_master(weight.data(), rest(), values.data(), weight.count(), dtype(), nullptr));
  }
  int32_t dtype() const { return storage == Storage::kF32 ? GATUN_F32 : GATUN_BF16; }
  uint16_t *rest() { return storage == Storage::kSplit ? remainder.halves() : nullptr; }
  Array master(const gatun_kernels &k) {
    Array values(GATUN_F32, weight.count());
    CHECK_OK(k.join_master(values.floats(), weight.data(), rest(), weight.count(), dtype(), nullptr));
    return values;
  }
  Storage storage;
  Array weight, remainder;
};

struct Inputs {
  explicit Inputs(int64_t count) : random(15) {
    for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<float>(random.uniform(-1, 1)));
    for (int step = 0; step < kSteps; ++step) gradients.emplace_back(GATUN_F32, count, random, -1, 1);
  }
  Random random;
  std::vector<float> values;
  std::vector<Array> gradients;
  float gradient_scale = 0.5f;
};

/** Runs kSteps of step(kernels, weights, step) and holds the masters to `want`, computed in double. */
template <class Step>
void check_optimizer(int64_t count, const std::vector<double> &want, double movement, const Inputs &in, const Step &step) {
  for (const Storage storage : {Storage::kF32, Storage::kBf16, Storage::kSplit}) {
    on_every_table(
        [&](const gatun_kernels &k) {
          Weights weights(storage, in.values, k);
          step(k, weights);
          CHECK(weights.weight.intact() && weights.remainder.intact(), "weights are written beyond their ends");
          return std::vector<Array>{weights.master(k)};
        },
        [&](const std::vector<Array> &out) {
          for (int64_t i = 0; i < count; ++i) {
            // Plain bf16 rounds the weight in every step and at the start.
            const double allowed =
                storage == Storage::kBf16 ? (kSteps + 1) * (std::abs(want[i]) + movement) * 0x1p-8 : tolerance(GATUN_F32, 1 + movement) * 0.25;
            CHECK_NEAR(out[0][i], want[i], allowed, "weight", i);
          }
        });
  }
}

TEST(adamw_steps_as_torch) {
  for (const int64_t count : kCounts) {
    if (too_large(count, 100)) continue;
    Inputs in(count);
    const double rate = 1e-2, b1 = 0.9, b2 = 0.999, eps = 1e-8, decay = 0.1;
    const int64_t decay_count = count / 3;
    std::vector<double> want(in.values.begin(), in.values.end()), m(count), v(count);
    for (int step = 1; step <= kSteps; ++step) {
      for (int64_t i = 0; i < count; ++i) {
        const double g = in.gradients[step - 1][i] * in.gradient_scale;
        if (i < decay_count) want[i] *= 1 - rate * decay;
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        want[i] -= rate / (1 - std::pow(b1, step)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(b2, step)) + eps);
      }
    }
    check_optimizer(count, want, 0.03, in, [&](const gatun_kernels &k, Weights &weights) {
      Array first(GATUN_F32, count), second(GATUN_F32, count);
      first.fill(0);
      second.fill(0);
      for (int step = 1; step <= kSteps; ++step) {
        CHECK_OK(k.adamw(weights.weight.data(), weights.rest(), first.floats(), second.floats(), in.gradients[step - 1].floats(), &in.gradient_scale,
                         count, decay_count, rate, b1, b2, eps, decay, 1 - std::pow(b1, step), 1 - std::pow(b2, step), 0, weights.dtype(), nullptr));
      }
      CHECK(first.intact() && second.intact(), "moments are written beyond their ends");
      for (int64_t i = 0; i < count; ++i) {
        CHECK_NEAR(first[i], m[i], 1e-7, "first_moment", i);
        CHECK_NEAR(second[i], v[i], 1e-6 * v[i] + 1e-12, "second_moment", i);
      }
    });
  }
}

/** The values of all codes with so many bits of magnitude, from the definition: decades of 2^p equal intervals, of which a code is the middle. */
std::vector<double> code_values(int bits) {
  std::vector<double> values = {0};
  for (int p = 0; p < bits; ++p) {
    for (int f = 0; f < 1 << p; ++f) values.push_back(std::pow(10.0, p - bits + 1) * (0.1 + 0.9 * (f + 0.5) / (1 << p)));
  }
  return values;
}

/** Half the width of the interval that a magnitude lies in; what is below all of them becomes 0 or, of second moments, the lowest. */
double code_error(double magnitude, int bits) {
  const double lowest = std::pow(10.0, -bits);
  if (magnitude < lowest) return lowest * 10;
  const int p = std::min(bits - 1, static_cast<int>(std::floor(std::log10(magnitude) + bits + 1e-9)));
  return 0.45 * std::pow(10.0, p - bits + 1) / (1 << p);
}

TEST(adamw_8bit_steps_as_torch_from_the_moments_it_keeps) {
  const std::vector<double> firsts = code_values(7), seconds = code_values(8);
  const double rate = 1e-2, b1 = 0.9, b2 = 0.999, eps = 1e-8, decay = 0.1;
  for (const int64_t count : {int64_t{1}, int64_t{255}, int64_t{256}, int64_t{257}, int64_t{5003}}) {
    if (too_large(count, 300)) continue;
    const int64_t decay_count = count / 3, blocks = (count + GATUN_MOMENT_BLOCK - 1) / GATUN_MOMENT_BLOCK;
    for (const Storage storage : {Storage::kF32, Storage::kSplit}) {
      Inputs in(count);
      // Gradients of very different sizes, as layers have them, and a block that never had one.
      for (Array &gradient : in.gradients) {
        for (int64_t i = 0; i < count; ++i) gradient.set(i, i / GATUN_MOMENT_BLOCK == 2 ? 0 : gradient[i] * std::pow(10.0, -(i % 9)));
      }
      on_every_table(
          [&](const gatun_kernels &k) {
            Weights weights(storage, in.values, k);
            // Codes are bytes: two to an element of these arrays.
            Array first(GATUN_BF16, (count + 1) / 2), second(GATUN_BF16, (count + 1) / 2), m_scale(GATUN_F32, blocks), v_scale(GATUN_F32, blocks);
            for (Array *zeros : {&first, &second, &m_scale, &v_scale}) zeros->fill(0);
            auto *m_codes = static_cast<uint8_t *>(first.data()), *v_codes = static_cast<uint8_t *>(second.data());
            std::vector<double> want(in.values.begin(), in.values.end());
            for (int step = 1; step <= kSteps; ++step) {
              std::vector<double> m(count), v(count);
              for (int64_t i = 0; i < count; ++i) {
                const int64_t block = i / GATUN_MOMENT_BLOCK;
                const double g = in.gradients[step - 1][i] * in.gradient_scale;
                m[i] = b1 * (m_codes[i] & 0x80 ? -1 : 1) * firsts[m_codes[i] & 0x7f] * m_scale[block] + (1 - b1) * g;
                v[i] = b2 * seconds[v_codes[i]] * v_scale[block] + (1 - b2) * g * g;
                if (i < decay_count) want[i] *= 1 - rate * decay;
                want[i] -= rate / (1 - std::pow(b1, step)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(b2, step)) + eps);
              }
              CHECK_OK(k.adamw_8bit(weights.weight.data(), weights.rest(), m_codes, v_codes, m_scale.floats(), v_scale.floats(),
                                    in.gradients[step - 1].floats(), &in.gradient_scale, count, decay_count, rate, b1, b2, eps, decay,
                                    1 - std::pow(b1, step), 1 - std::pow(b2, step), 0, weights.dtype(), nullptr));
              for (int64_t i = 0; i < count; ++i) {
                const double m_unit = m_scale[i / GATUN_MOMENT_BLOCK], v_unit = v_scale[i / GATUN_MOMENT_BLOCK];
                // An f32 rounding may move a number across the border of two intervals: 1.001.
                if (m_unit > 0) {
                  const double kept = (m_codes[i] & 0x80 ? -1 : 1) * firsts[m_codes[i] & 0x7f];
                  CHECK_NEAR(kept, m[i] / m_unit, 1.001 * code_error(std::abs(m[i]) / m_unit, 7), "first_moment", i);
                }
                if (v_unit > 0) CHECK_NEAR(seconds[v_codes[i]], v[i] / v_unit, 1.001 * code_error(v[i] / v_unit, 8), "second_moment", i);
                CHECK(v[i] == 0 || v_codes[i] != 0, "second_moment[%lld] is lost", static_cast<long long>(i));
              }
            }
            CHECK(first.intact() && second.intact() && m_scale.intact() && v_scale.intact(), "moments are written beyond their ends");
            const Array got = weights.master(k);
            for (int64_t i = 0; i < count; ++i) CHECK_NEAR(got[i], want[i], tolerance(GATUN_F32, 1.5), "weight", i);
            return std::vector<Array>{weights.master(k), first, second, m_scale, v_scale};
          },
          [](const std::vector<Array> &) {});
    }
  }
}

TEST(stochastic_rounding_is_unbiased_and_depends_on_seed_and_index_alone) {
  const int64_t count = 40001;
  const double share = 0.3;  // of the way from 1 to the next bf16
  for (const Table &table : tables()) {
    const auto rounded = [&](uint64_t seed, int64_t n) {
      // One step from 1 to 1 + share: without moments or decay, w -= rate * sign(g).
      Array weight(GATUN_BF16, n), first(GATUN_F32, n), second(GATUN_F32, n), gradient(GATUN_F32, n);
      weight.fill(1);
      first.fill(0);
      second.fill(0);
      gradient.fill(-1);
      const float scale = 1;
      CHECK_OK(table.kernels->adamw(weight.data(), nullptr, first.floats(), second.floats(), gradient.floats(), &scale, n, 0, share * 0x1p-7, 0, 0, 0,
                                    0, 1, 1, seed, GATUN_BF16, nullptr));
      CHECK(weight.intact(), "weights are written beyond their ends");
      return weight;
    };
    const Array one = rounded(1, count), again = rounded(1, count), other = rounded(2, count), shorter = rounded(1, 1003);
    int64_t up = 0, differ = 0;
    for (int64_t i = 0; i < count; ++i) {
      CHECK(one[i] == 1 || one[i] == 1 + 0x1p-7, "weight[%lld] is %.9g", static_cast<long long>(i), one[i]);
      up += one[i] != 1;
      differ += one[i] != other[i];
    }
    // Five standard deviations of a binomial distribution.
    const double deviation = std::sqrt(share * (1 - share) * count);
    CHECK_NEAR(static_cast<double>(up), share * count, 5 * deviation, "rounded up", 0);
    CHECK_NEAR(static_cast<double>(differ), 2 * share * (1 - share) * count, 5 * std::sqrt(0.42 * 0.58 * count), "rounded otherwise", 0);
    CHECK(one.same_bits(again), "the same seed gives other bits");
    for (int64_t i = 0; i < shorter.count(); ++i) CHECK(shorter[i] == one[i], "weight[%lld] depends on count", static_cast<long long>(i));
  }
}

TEST(rmsprop_steps_as_torch) {
  for (const int64_t count : kCounts) {
    if (too_large(count, 100)) continue;
    for (const double momentum : {0.0, 0.9}) {
      Inputs in(count);
      const double rate = 1e-3, alpha = 0.99, eps = 1e-4, decay = 0.1;
      const int64_t decay_count = count - count / 4;
      std::vector<double> want(in.values.begin(), in.values.end()), v(count), b(count);
      for (int step = 0; step < kSteps; ++step) {
        for (int64_t i = 0; i < count; ++i) {
          const double g = in.gradients[step][i] * in.gradient_scale + (i < decay_count ? decay * want[i] : 0);
          v[i] = alpha * v[i] + (1 - alpha) * g * g;
          b[i] = momentum * b[i] + g / (std::sqrt(v[i]) + eps);
          want[i] -= rate * b[i];
        }
      }
      check_optimizer(count, want, 0.1, in, [&](const gatun_kernels &k, Weights &weights) {
        Array square(GATUN_F32, count), buffer(GATUN_F32, count);
        square.fill(0);
        buffer.fill(0);
        for (int step = 0; step < kSteps; ++step) {
          CHECK_OK(k.rmsprop(weights.weight.data(), weights.rest(), square.floats(), momentum == 0 ? nullptr : buffer.floats(),
                             in.gradients[step].floats(), &in.gradient_scale, count, decay_count, rate, alpha, eps, momentum, decay, weights.dtype(),
                             nullptr));
        }
        CHECK(square.intact() && buffer.intact(), "state is written beyond its ends");
      });
    }
  }
}

TEST(sgd_steps_as_torch) {
  for (const int64_t count : kCounts) {
    if (too_large(count, 100)) continue;
    for (const double momentum : {0.0, 0.9}) {
      Inputs in(count);
      const double rate = 1e-2, decay = 0.1;
      std::vector<double> want(in.values.begin(), in.values.end()), b(count);
      for (int step = 0; step < kSteps; ++step) {
        for (int64_t i = 0; i < count; ++i) {
          const double g = in.gradients[step][i] * in.gradient_scale + decay * want[i];
          b[i] = step == 0 ? g : momentum * b[i] + g;
          want[i] -= rate * b[i];
        }
      }
      check_optimizer(count, want, 0.1, in, [&](const gatun_kernels &k, Weights &weights) {
        Array buffer(GATUN_F32, count);
        for (int step = 0; step < kSteps; ++step) {
          CHECK_OK(k.sgd(weights.weight.data(), weights.rest(), momentum == 0 ? nullptr : buffer.floats(), in.gradients[step].floats(),
                         &in.gradient_scale, count, count, rate, momentum, decay, step == 0 ? 1 : 0, weights.dtype(), nullptr));
        }
        CHECK(buffer.intact(), "buffer is written beyond its ends");
      });
    }
  }
}

TEST(masters_split_and_join_bit_for_bit) {
  Random random(16);
  std::vector<uint32_t> patterns = {0,          0x80000000, 1,          0x7fff,     0x8000,     0x8001,     0xffff,    0x3f807fff,
                                    0x3f808000, 0x3f808001, 0x7f7fffff, 0x7f800000, 0x7fffffff, 0xffffffff, 0xff800001};
  while (patterns.size() < (kDetectsRaces ? 103 : 100003)) patterns.push_back(static_cast<uint32_t>(random.bits()));
  const int64_t count = static_cast<int64_t>(patterns.size());
  on_every_table(
      [&](const gatun_kernels &k) {
        Array weight(GATUN_BF16, count), remainder(GATUN_BF16, count), joined(GATUN_F32, count), plain(GATUN_BF16, count), widened(GATUN_F32, count);
        const float *source = reinterpret_cast<const float *>(patterns.data());
        CHECK_OK(k.split_master(weight.data(), remainder.halves(), source, count, GATUN_BF16, nullptr));
        CHECK_OK(k.join_master(joined.floats(), weight.data(), remainder.halves(), count, GATUN_BF16, nullptr));
        CHECK_OK(k.split_master(plain.data(), nullptr, source, count, GATUN_BF16, nullptr));
        CHECK_OK(k.join_master(widened.floats(), plain.data(), nullptr, count, GATUN_BF16, nullptr));
        return std::vector<Array>{weight, remainder, joined, plain, widened};
      },
      [&](const std::vector<Array> &out) {
        CHECK(std::memcmp(out[2].data(), patterns.data(), patterns.size() * 4) == 0, "a pattern changed");
        const uint16_t *weight = static_cast<const uint16_t *>(out[0].data()), *plain = static_cast<const uint16_t *>(out[3].data());
        const uint32_t *widened = static_cast<const uint32_t *>(out[4].data());
        for (int64_t i = 0; i < count; ++i) {
          const uint32_t nearest = (patterns[i] >> 16) + ((patterns[i] & 0xffff) >= 0x8000 ? 1 : 0);
          CHECK(weight[i] == (nearest & 0xffff), "%08x has weight %04x", patterns[i], weight[i]);
          CHECK(plain[i] == float_to_bf16(bits_as<float>(patterns[i])), "%08x rounds to %04x", patterns[i], plain[i]);
          CHECK(widened[i] == static_cast<uint32_t>(plain[i]) << 16, "%04x widens to %08x", plain[i], widened[i]);
        }
      });
}

TEST(an_update_below_half_a_bf16_step_is_kept_by_the_remainder) {
  for (const Table &table : tables()) {
    float value = 1, gradient = 1, scale = 1, joined;
    uint16_t weight, remainder;
    CHECK_OK(table.kernels->split_master(&weight, &remainder, &value, 1, GATUN_BF16, nullptr));
    for (int step = 0; step < 100; ++step) {
      CHECK_OK(table.kernels->sgd(&weight, &remainder, nullptr, &gradient, &scale, 1, 0, 1e-5, 0, 0, 0, GATUN_BF16, nullptr));
    }
    CHECK_OK(table.kernels->join_master(&joined, &weight, &remainder, 1, GATUN_BF16, nullptr));
    CHECK_NEAR(joined, 1 - 100 * 1e-5, 1e-5, "weight", 0);
  }
}

TEST(optimizers_refuse_bad_arguments) {
  float x[8] = {};
  uint16_t h[8] = {};
  for (const Table &table : tables()) {
    const gatun_kernels &k = *table.kernels;
    CHECK_INVALID(k.adamw(x, h, x, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 0, GATUN_F32, nullptr),
                  "a remainder completes bf16 weights only");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, x, 4, 5, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 0, GATUN_F32, nullptr),
                  "decay_count is 5, expected at most count, 4");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0, 0.01, 0, GATUN_F32, nullptr), "correction1 is 0");
    CHECK_INVALID(k.adamw(x, nullptr, nullptr, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 0, GATUN_F32, nullptr), "first_moment is NULL");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, nullptr, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 0, GATUN_F32, nullptr), "gradient_scale is NULL");
    CHECK_INVALID(k.adamw(x, h, x, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 7, GATUN_BF16, nullptr), "rounding_seed is given with dtype 1");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 7, GATUN_F32, nullptr),
                  "rounding_seed is given with dtype 0");
    auto *codes = reinterpret_cast<uint8_t *>(h);
    CHECK_INVALID(k.adamw_8bit(x, nullptr, codes, codes, x, nullptr, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, 0, GATUN_F32, nullptr),
                  "second_scale is NULL");
    CHECK_INVALID(k.rmsprop(x, nullptr, x, nullptr, x, x, 4, 4, 1, 0.99, 1e-8, 0.9, 0, GATUN_F32, nullptr), "momentum is 0.9 but buffer is NULL");
    CHECK_INVALID(k.sgd(x, nullptr, nullptr, x, x, 4, 4, 1, 0.9, 0, 1, GATUN_F32, nullptr), "momentum is 0.9 but buffer is NULL");
    CHECK_INVALID(k.split_master(x, h, x, 4, GATUN_F32, nullptr), "a remainder completes bf16 weights only");
    CHECK_INVALID(k.join_master(x, nullptr, nullptr, 4, GATUN_F32, nullptr), "weight is NULL");
  }
}

}  // namespace
}  // namespace gatun::testing
