#include <cmath>

#include "testing.h"

namespace gatun::testing {
namespace {

double half_to_double(uint16_t h) {
  const int exponent = (h >> 10) & 31, fraction = h & 1023;
  const double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

/** The nearest half of a finite x, ties to an even pattern, by search over the ordered patterns of halves. */
uint16_t double_to_half(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  x = std::abs(x);
  int low = 0, high = 0x7c00;  // the largest pattern at most x, up to infinity
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (half_to_double(static_cast<uint16_t>(middle)) <= x)
      low = middle;
    else
      high = middle;
  }
  const double below = half_to_double(static_cast<uint16_t>(low));
  const double above = low == 0x7bff ? 65536.0 : half_to_double(static_cast<uint16_t>(low + 1));
  if (x - below > above - x || (x - below == above - x && low % 2 == 1)) ++low;
  return static_cast<uint16_t>(sign | low);
}

std::vector<uint32_t> float_patterns() {
  std::vector<uint32_t> patterns = {0,          0x80000000, 1,          0x007fffff, 0x00800000, 0x7f7fffff, 0x7f800000, 0xff800000, 0x3f808000,
                                    0x3f818000, 0x3f807fff, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x38800000, 0x387fffff};
  Random random(5);
  for (int i = 0; i < (kDetectsRaces ? 60 : 60000); ++i) patterns.push_back(static_cast<uint32_t>(random.bits()));
  for (int i = 0; i < (kDetectsRaces ? 30 : 30000); ++i) patterns.push_back(bits_as<uint32_t>(static_cast<float>(random.uniform(-1e-4, 1e-4))));
  for (int i = 0; i < (kDetectsRaces ? 31 : 30001); ++i) patterns.push_back(bits_as<uint32_t>(static_cast<float>(random.uniform(-70000, 70000))));
  return patterns;
}

TEST(every_half_and_every_bf16_widens_exactly) {
  if constexpr (kDetectsRaces) return;
  std::vector<uint16_t> all(65536);
  for (int i = 0; i < 65536; ++i) all[i] = static_cast<uint16_t>(i);
  for (const Table &table : tables()) {
    std::vector<float> wide(65536);
    CHECK_OK(table.kernels->cast(wide.data(), all.data(), 65536, GATUN_F32, GATUN_F16, nullptr));
    for (int i = 0; i < 65536; ++i) {
      const double want = half_to_double(all[i]);
      CHECK(std::isnan(want) ? std::isnan(wide[i]) : wide[i] == want && std::signbit(wide[i]) == std::signbit(want), "half %04x is %g", i, wide[i]);
    }
    CHECK_OK(table.kernels->cast(wide.data(), all.data(), 65536, GATUN_F32, GATUN_BF16, nullptr));
    for (int i = 0; i < 65536; ++i) CHECK(bits_as<uint32_t>(wide[i]) == static_cast<uint32_t>(i) << 16, "bf16 %04x is %g", i, wide[i]);
  }
}

TEST(narrowing_rounds_to_nearest_even) {
  const std::vector<uint32_t> patterns = float_patterns();
  const int64_t count = static_cast<int64_t>(patterns.size());
  on_every_table(
      [&](const gatun_kernels &k) {
        Array bf16s(GATUN_BF16, count), halves(GATUN_BF16, count);  // both are 16 bits wide
        CHECK_OK(k.cast(bf16s.data(), patterns.data(), count, GATUN_BF16, GATUN_F32, nullptr));
        CHECK_OK(k.cast(halves.data(), patterns.data(), count, GATUN_F16, GATUN_F32, nullptr));
        return std::vector<Array>{bf16s, halves};
      },
      [&](const std::vector<Array> &out) {
        const uint16_t *bf16s = static_cast<const uint16_t *>(out[0].data()), *halves = static_cast<const uint16_t *>(out[1].data());
        for (int64_t i = 0; i < count; ++i) {
          const float x = bits_as<float>(patterns[i]);
          CHECK(bf16s[i] == float_to_bf16(x), "%08x becomes bf16 %04x, expected %04x", patterns[i], bf16s[i], float_to_bf16(x));
          if (std::isnan(x)) {
            CHECK((halves[i] & 0x7e00) == 0x7e00, "NaN %08x becomes half %04x, expected a quiet NaN", patterns[i], halves[i]);
          } else {
            CHECK(halves[i] == double_to_half(x), "%08x becomes half %04x, expected %04x", patterns[i], halves[i], double_to_half(x));
          }
        }
      });
}

TEST(casts_between_16_bit_types_go_through_f32) {
  if constexpr (kDetectsRaces) return;
  for (const Table &table : tables()) {
    std::vector<uint16_t> all(65536), direct(65536), stepwise(65536);
    std::vector<float> wide(65536);
    for (int i = 0; i < 65536; ++i) all[i] = static_cast<uint16_t>(i);
    for (const auto &[from, to] : {std::pair{GATUN_F16, GATUN_BF16}, std::pair{GATUN_BF16, GATUN_F16}}) {
      CHECK_OK(table.kernels->cast(direct.data(), all.data(), 65536, to, from, nullptr));
      CHECK_OK(table.kernels->cast(wide.data(), all.data(), 65536, GATUN_F32, from, nullptr));
      CHECK_OK(table.kernels->cast(stepwise.data(), wide.data(), 65536, to, GATUN_F32, nullptr));
      CHECK(direct == stepwise, "%d to %d differs", from, to);
    }
  }
}

TEST(cast_to_the_same_type_copies_bits) {
  for (const Table &table : tables()) {
    const std::vector<uint32_t> patterns = float_patterns();
    std::vector<uint32_t> copy(patterns.size());
    CHECK_OK(table.kernels->cast(copy.data(), patterns.data(), patterns.size(), GATUN_F32, GATUN_F32, nullptr));
    CHECK(copy == patterns, "bits changed");
    CHECK_OK(table.kernels->cast(copy.data(), copy.data(), patterns.size(), GATUN_F32, GATUN_F32, nullptr));
    CHECK(copy == patterns, "bits changed in place");
  }
}

TEST(cast_refuses_bad_arguments) {
  float x[4] = {};
  for (const Table &table : tables()) {
    CHECK_INVALID(table.kernels->cast(x, x, 2, GATUN_BF16, GATUN_F32, nullptr), "dst is src with another dtype");
    CHECK_INVALID(table.kernels->cast(x, nullptr, 2, GATUN_BF16, GATUN_F32, nullptr), "src is NULL");
    CHECK_INVALID(table.kernels->cast(x, x, 2, 3, GATUN_F32, nullptr), "dst_dtype is 3");
    CHECK_INVALID(table.kernels->cast(x, x, 2, GATUN_F32, -1, nullptr), "src_dtype is -1");
    CHECK_INVALID(table.kernels->cast(x, x, -2, GATUN_F32, GATUN_F32, nullptr), "count is -2");
  }
}

}  // namespace
}  // namespace gatun::testing
