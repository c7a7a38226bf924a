/* adamw, rmsprop, sgd against torch's formulas in double; split_master and join_master bit for bit. */
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
                         count, decay_count, rate, b1, b2, eps, decay, 1 - std::pow(b1, step), 1 - std::pow(b2, step), weights.dtype(), nullptr));
      }
      CHECK(first.intact() && second.intact(), "moments are written beyond their ends");
      for (int64_t i = 0; i < count; ++i) {
        CHECK_NEAR(first[i], m[i], 1e-7, "first_moment", i);
        CHECK_NEAR(second[i], v[i], 1e-6 * v[i] + 1e-12, "second_moment", i);
      }
    });
  }
}

TEST(rmsprop_steps_as_torch) {
  for (const int64_t count : kCounts) {
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
  while (patterns.size() < 100003) patterns.push_back(static_cast<uint32_t>(random.bits()));
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
    CHECK_INVALID(k.adamw(x, h, x, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, GATUN_F32, nullptr), "a remainder completes bf16 weights only");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, x, 4, 5, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, GATUN_F32, nullptr),
                  "decay_count is 5, expected at most count, 4");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0, 0.01, GATUN_F32, nullptr), "correction1 is 0");
    CHECK_INVALID(k.adamw(x, nullptr, nullptr, x, x, x, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, GATUN_F32, nullptr), "first_moment is NULL");
    CHECK_INVALID(k.adamw(x, nullptr, x, x, x, nullptr, 4, 4, 1, 0.9, 0.99, 1e-8, 0, 0.1, 0.01, GATUN_F32, nullptr), "gradient_scale is NULL");
    CHECK_INVALID(k.rmsprop(x, nullptr, x, nullptr, x, x, 4, 4, 1, 0.99, 1e-8, 0.9, 0, GATUN_F32, nullptr), "momentum is 0.9 but buffer is NULL");
    CHECK_INVALID(k.sgd(x, nullptr, nullptr, x, x, 4, 4, 1, 0.9, 0, 1, GATUN_F32, nullptr), "momentum is 0.9 but buffer is NULL");
    CHECK_INVALID(k.split_master(x, h, x, 4, GATUN_F32, nullptr), "a remainder completes bf16 weights only");
    CHECK_INVALID(k.join_master(x, nullptr, nullptr, 4, GATUN_F32, nullptr), "weight is NULL");
  }
}

}  // namespace
}  // namespace gatun::testing
