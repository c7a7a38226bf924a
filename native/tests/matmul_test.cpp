/*
 * gatun_cpu_matmul against sums in double: every type, layout and option, sizes around the edges of tiles, gaps between rows left
 * alone, the same bits for every number of threads and for calls at the same time, arguments refused.
 *
 * CTest also runs this with ONEDNN_MAX_CPU_ISA set, for the products of other machines: bf16 without AMX, f32 without AVX-512, and
 * bf16 where oneDNN has none.
 */
#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "testing.h"

namespace gatun::testing {
namespace {

struct Case {
  int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate, bias;
  int32_t ab_dtype, c_dtype;

  std::string name() const {
    char text[160];
    std::snprintf(text, sizeof text, "m %lld n %lld k %lld %s%s%s%s ab %d c %d", static_cast<long long>(m), static_cast<long long>(n),
                  static_cast<long long>(k), transpose_a ? "A^T " : "", transpose_b ? "B^T " : "", accumulate ? "accumulate " : "",
                  bias ? "bias " : "", ab_dtype, c_dtype);
    return text;
  }
};

constexpr int64_t kGap = 3;  // elements between rows, and after the last one

struct Operands {
  int64_t lda, ldb, ldc;
  Array a, b, bias, c;

  Operands(const Case &t, Random &random)
      : lda((t.transpose_a ? t.m : t.k) + kGap),
        ldb((t.transpose_b ? t.k : t.n) + kGap),
        ldc(t.n + kGap),
        a(t.ab_dtype, (t.transpose_a ? t.k : t.m) * lda, random, -1, 1),
        b(t.ab_dtype, (t.transpose_b ? t.n : t.k) * ldb, random, -1, 1),
        bias(t.ab_dtype, t.n, random, -1, 1),
        c(t.c_dtype, t.m * ldc, random, -1, 1) {}
  /** C after the product. */
  Array run(const Case &t) {
    Array result = c;
    CHECK_OK(gatun_cpu_matmul(result.data(), a.data(), b.data(), t.bias ? bias.data() : nullptr, t.m, t.n, t.k, lda, ldb, ldc, t.transpose_a,
                              t.transpose_b, t.accumulate ? 1.0f : 0.0f, t.ab_dtype, t.c_dtype));
    return result;
  }
};

void check(const Case &t, Random &random) {
  Operands x(t, random);
  gatun_cpu_set_threads(1);
  const Array c = x.run(t);
  CHECK(c.intact(), "%s: written beyond the ends", t.name().c_str());
  for (int64_t i = 0; i < t.m; ++i) {
    for (int64_t j = 0; j < t.n; ++j) {
      double expected = (t.bias ? x.bias[j] : 0) + (t.accumulate ? x.c[i * x.ldc + j] : 0);
      double magnitude = std::fabs(expected) + 1;
      for (int64_t l = 0; l < t.k; ++l) {
        const double product = x.a[t.transpose_a ? l * x.lda + i : i * x.lda + l] * x.b[t.transpose_b ? j * x.ldb + l : l * x.ldb + j];
        expected += product;
        magnitude += std::fabs(product);
      }
      // Sums of k + 2 terms in f32 in any order: at most (k + 2) 2^-24 of the sum of magnitudes (Higham 2002, section 4.2).
      // bf16 results: half a unit in the last place, 2^-9, once more for a sum of an already rounded one.
      double allowed = static_cast<double>(t.k + 2) * 0x1p-24 * magnitude;
      if (t.c_dtype == GATUN_BF16) allowed += 0x1p-8 * std::fabs(expected);
      CHECK_NEAR(c[i * x.ldc + j], expected, allowed, t.name().c_str(), i * x.ldc + j);
    }
    for (int64_t gap = t.n; gap < x.ldc; ++gap) {
      CHECK(c[i * x.ldc + gap] == x.c[i * x.ldc + gap], "%s: written between rows", t.name().c_str());
    }
  }
  for (int threads = 2; threads <= 4; ++threads) {
    gatun_cpu_set_threads(threads);
    CHECK(x.run(t).same_bits(c), "%s: other bits with %d threads", t.name().c_str(), threads);
  }
  gatun_cpu_set_threads(1);
}

TEST(matmul_of_every_form) {
  Random random(1);
  const int64_t sizes[][3] = {{1, 1, 1},
                              {1, 5, 3},
                              {2, 3, 64},
                              {7, 17, 31},
                              {16, 48, 64},
                              {17, 49, 65},
                              {33, 127, 63},
                              {64, 96, 40},
                              {129, 97, 66},
                              {1, 1000, 96},
                              {131, 389, 70},
                              {300, 210, 129},
                              // several blocks of k, and of columns
                              {21, 53, 1667},
                              {26, 2931, 19},
                              {10, 1500, 801}};
  const int32_t types[][2] = {{GATUN_F32, GATUN_F32}, {GATUN_BF16, GATUN_BF16}, {GATUN_BF16, GATUN_F32}};
  for (const auto &size : sizes) {
    for (const auto &type : types) {
      for (int form = 0; form < 16; ++form) {
        check({size[0], size[1], size[2], (form & 1) != 0, (form & 2) != 0, (form & 4) != 0, (form & 8) != 0, type[0], type[1]}, random);
      }
    }
  }
}

/* More primitives than are kept, so that the oldest make room. */
TEST(matmul_of_many_shapes) {
  Random random(2);
  for (int64_t k = 1; k <= 530; ++k) check({3, 16, k, false, true, false, false, GATUN_BF16, GATUN_F32}, random);
}

/* Calls at the same time, on the same primitives, give what they give alone. */
TEST(matmul_from_several_threads) {
  Random random(3);
  gatun_cpu_set_threads(2);
  const Case cases[] = {{90, 200, 130, true, false, true, false, GATUN_BF16, GATUN_F32},
                        {90, 200, 130, false, true, false, true, GATUN_F32, GATUN_F32},
                        {70, 100, 64, false, true, false, true, GATUN_BF16, GATUN_BF16}};
  for (const Case &t : cases) {
    Operands x(t, random);
    const Array expected = x.run(t);
    bool same[4] = {true, true, true, true};
    std::vector<std::thread> callers;
    for (bool &result : same) {
      callers.emplace_back([&x, &t, &expected, &result] {
        for (int repeat = 0; repeat < 10; ++repeat) result = result && x.run(t).same_bits(expected);
      });
    }
    for (std::thread &caller : callers) caller.join();
    for (const bool result : same) CHECK(result, "%s: other bits when called at the same time", t.name().c_str());
  }
  gatun_cpu_set_threads(1);
}

TEST(matmul_refuses) {
  float c[4] = {}, a[4] = {}, b[4] = {};
  const auto call = [&](void *out, int64_t m, int64_t k, int64_t lda, int64_t ldb, int64_t ldc, float beta, int32_t ab_dtype, int32_t c_dtype) {
    return gatun_cpu_matmul(out, a, b, nullptr, m, 2, k, lda, ldb, ldc, 0, 0, beta, ab_dtype, c_dtype);
  };
  CHECK_INVALID(call(nullptr, 2, 2, 2, 2, 2, 0, 0, 0), "gatun_cpu_matmul: c is NULL");
  CHECK_INVALID(call(c, -1, 2, 2, 2, 2, 0, 0, 0), "m is -1");
  CHECK_INVALID(call(c, 2, 0, 2, 2, 2, 0, 0, 0), "k is 0");
  CHECK_INVALID(call(c, 2, 2, 1, 2, 2, 0, 0, 0), "lda is 1");
  CHECK_INVALID(call(c, 2, 2, 2, 1, 2, 0, 0, 0), "ldb is 1");
  CHECK_INVALID(call(c, 2, 2, 2, 2, 1, 0, 0, 0), "ldc is 1");
  CHECK_INVALID(call(c, 2, 2, 2, 2, 2, 0.5f, 0, 0), "beta is 0.5");
  CHECK_INVALID(call(c, 2, 2, 2, 2, 2, 0, 2, 0), "ab_dtype is 2");
  CHECK_INVALID(call(c, 2, 2, 2, 2, 2, 0, 0, 1), "c_dtype is 1");
  CHECK_OK(call(c, 0, 2, 2, 2, 2, 0, 0, 0));
}

}  // namespace
}  // namespace gatun::testing
