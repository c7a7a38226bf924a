#include <cmath>

#include "testing.h"

namespace gatun::testing {
namespace {

struct Case {
  int64_t tokens, heads, kv_heads, head_dim, padding;
  bool rotated;
};
const Case kCases[] = {{1, 1, 1, 2, 0, true}, {5, 4, 2, 6, 3, true}, {9, 2, 2, 34, 0, true}, {150, 8, 2, 64, 16, true}, {30, 3, 1, 128, 1, false}};

/** Inputs of one case; every third token has a second key row. */
struct Inputs {
  explicit Inputs(const Case &c, int32_t dtype)
      : random(13),
        q_stride(c.heads * c.head_dim + c.padding),
        kv_stride(c.kv_heads * c.head_dim + 2 * c.padding),
        q_out_stride(c.heads * c.head_dim + c.padding),
        key_count(2 * c.tokens),
        q(dtype, c.tokens * q_stride, random),
        k(dtype, c.tokens * kv_stride, random),
        v(dtype, c.tokens * kv_stride, random),
        cos(GATUN_F32, 64 * (c.head_dim / 2)),
        sin(GATUN_F32, 64 * (c.head_dim / 2)) {
    for (int64_t p = 0; p < 64; ++p) {
      for (int64_t i = 0; i < c.head_dim / 2; ++i) {
        const double angle = static_cast<double>(p) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
        cos.set(p * (c.head_dim / 2) + i, std::cos(angle));
        sin.set(p * (c.head_dim / 2) + i, std::sin(angle));
      }
    }
    for (int32_t t = 0; t < c.tokens; ++t) {
      positions.push_back(random.below(64));
      key_rows.push_back(static_cast<int32_t>(c.tokens) - 1 - t);
      key_copy_rows.push_back(t % 3 == 0 ? static_cast<int32_t>(c.tokens) + t : -1);
    }
  }
  Random random;
  int64_t q_stride, kv_stride, q_out_stride, key_count;
  Array q, k, v, cos, sin;
  std::vector<int32_t> positions, key_rows, key_copy_rows;
};

/** Element i of a head rotated by the token's angles; direction -1 rotates back. */
double rotated(const Case &c, const Inputs &in, int64_t t, int64_t i, double direction, const auto &head) {
  if (!c.rotated) return head(i);
  const int64_t half = c.head_dim / 2, at = in.positions[t] * half + i % half;
  return i < half ? head(i) * in.cos[at] - direction * head(i + half) * in.sin[at] : head(i) * in.cos[at] + direction * head(i - half) * in.sin[at];
}

TEST(rope_forward_rotates_and_files_keys) {
  for (const int32_t dtype : kDtypes) {
    for (const Case &c : kCases) {
      if (too_large(c.tokens, 20)) continue;
      Inputs in(c, dtype);
      const int64_t kv_width = c.kv_heads * c.head_dim;
      on_every_table(
          [&](const gatun_kernels &k) {
            Array q_out(dtype, c.tokens * in.q_out_stride), in_place(in.q), k_out(dtype, in.key_count * kv_width),
                v_out(dtype, in.key_count * kv_width);
            const float *cos = c.rotated ? in.cos.floats() : nullptr, *sin = c.rotated ? in.sin.floats() : nullptr;
            CHECK_OK(k.rope_forward(q_out.data(), k_out.data(), v_out.data(), in.q.data(), in.k.data(), in.v.data(), cos, sin, in.positions.data(),
                                    in.key_rows.data(), in.key_copy_rows.data(), c.tokens, c.heads, c.kv_heads, c.head_dim, in.q_out_stride,
                                    in.q_stride, in.kv_stride, dtype, nullptr));
            CHECK_OK(k.rope_forward(in_place.data(), k_out.data(), v_out.data(), in_place.data(), in.k.data(), in.v.data(), cos, sin,
                                    in.positions.data(), in.key_rows.data(), in.key_copy_rows.data(), c.tokens, c.heads, c.kv_heads, c.head_dim,
                                    in.q_stride, in.q_stride, in.kv_stride, dtype, nullptr));
            return std::vector<Array>{q_out, in_place, k_out, v_out};
          },
          [&](const std::vector<Array> &out) {
            std::vector<bool> written(in.key_count);
            for (int64_t t = 0; t < c.tokens; ++t) {
              for (int64_t j = 0; j < c.heads * c.head_dim; ++j) {
                const int64_t head = t * in.q_stride + j / c.head_dim * c.head_dim;
                const double want = rotated(c, in, t, j % c.head_dim, 1, [&](int64_t i) { return in.q[head + i]; });
                CHECK_NEAR(out[0][t * in.q_out_stride + j], want, tolerance(dtype, 3), "q_out", j);
                CHECK_NEAR(out[1][t * in.q_stride + j], out[0][t * in.q_out_stride + j], 0, "q_out in place", j);
              }
              for (const int32_t row : {in.key_rows[t], in.key_copy_rows[t]}) {
                if (row < 0) continue;
                written[row] = true;
                for (int64_t j = 0; j < kv_width; ++j) {
                  const int64_t head = t * in.kv_stride + j / c.head_dim * c.head_dim;
                  const double want = rotated(c, in, t, j % c.head_dim, 1, [&](int64_t i) { return in.k[head + i]; });
                  CHECK_NEAR(out[2][row * kv_width + j], want, tolerance(dtype, 3), "k_out", j);
                  CHECK_NEAR(out[3][row * kv_width + j], in.v[t * in.kv_stride + j], 0, "v_out", j);
                }
              }
            }
            for (int64_t row = 0; row < in.key_count; ++row) {
              if (!written[row]) CHECK_NEAR(out[2][row * kv_width], -77, 0.5, "k_out row that no token has", row);
            }
          });
    }
  }
}

TEST(rope_backward_is_the_transpose) {
  for (const int32_t dtype : kDtypes) {
    for (const Case &c : kCases) {
      if (too_large(c.tokens, 20)) continue;
      Inputs in(c, dtype);
      const int64_t kv_width = c.kv_heads * c.head_dim;
      const Array d_q_out(dtype, c.tokens * in.q_out_stride, in.random), d_k_out(dtype, in.key_count * kv_width, in.random);
      const Array d_v_out(dtype, in.key_count * kv_width, in.random);
      on_every_table(
          [&](const gatun_kernels &k) {
            Array d_q(dtype, c.tokens * in.q_stride), d_k(dtype, c.tokens * in.kv_stride), d_v(dtype, c.tokens * in.kv_stride);
            const float *cos = c.rotated ? in.cos.floats() : nullptr, *sin = c.rotated ? in.sin.floats() : nullptr;
            CHECK_OK(k.rope_backward(d_q.data(), d_k.data(), d_v.data(), d_q_out.data(), d_k_out.data(), d_v_out.data(), cos, sin,
                                     in.positions.data(), in.key_rows.data(), in.key_copy_rows.data(), c.tokens, c.heads, c.kv_heads, c.head_dim,
                                     in.q_stride, in.kv_stride, in.q_out_stride, dtype, nullptr));
            return std::vector<Array>{d_q, d_k, d_v};
          },
          [&](const std::vector<Array> &out) {
            for (int64_t t = 0; t < c.tokens; ++t) {
              for (int64_t j = 0; j < c.heads * c.head_dim; ++j) {
                const int64_t head = t * in.q_out_stride + j / c.head_dim * c.head_dim;
                const double want = rotated(c, in, t, j % c.head_dim, -1, [&](int64_t i) { return d_q_out[head + i]; });
                CHECK_NEAR(out[0][t * in.q_stride + j], want, tolerance(dtype, 3), "d_q", j);
              }
              const auto both = [&](const Array &d, int64_t j) {
                return d[in.key_rows[t] * kv_width + j] + (in.key_copy_rows[t] < 0 ? 0 : d[in.key_copy_rows[t] * kv_width + j]);
              };
              for (int64_t j = 0; j < kv_width; ++j) {
                const int64_t head = j / c.head_dim * c.head_dim;
                const double want = rotated(c, in, t, j % c.head_dim, -1, [&](int64_t i) { return both(d_k_out, head + i); });
                CHECK_NEAR(out[1][t * in.kv_stride + j], want, tolerance(dtype, 6), "d_k", j);
                CHECK_NEAR(out[2][t * in.kv_stride + j], both(d_v_out, j), tolerance(dtype, 4), "d_v", j);
              }
            }
          });
    }
  }
}

TEST(rope_refuses_bad_arguments) {
  float x[16] = {};
  const int32_t row[] = {0}, none[] = {-1};
  for (const Table &table : tables()) {
    const gatun_kernels &k = *table.kernels;
    CHECK_INVALID(k.rope_forward(x, x, x, x, x, x, x, nullptr, row, row, none, 1, 1, 1, 4, 4, 4, 4, GATUN_F32, nullptr),
                  "sin is NULL but cos is not");
    CHECK_INVALID(k.rope_forward(x, x, x, x, x, x, x, x, row, row, none, 1, 1, 1, 3, 4, 4, 4, GATUN_F32, nullptr), "head_dim is 3");
    CHECK_INVALID(k.rope_backward(x, x, x, x, x, x, x, x, row, row, none, 1, 2, 1, 4, 7, 4, 8, GATUN_F32, nullptr), "q_stride is 7");
    if constexpr (!kChecksIndices) continue;
    CHECK_INVALID(k.rope_forward(x, x, x, x, x, x, x, x, none, row, none, 1, 1, 1, 4, 4, 4, 4, GATUN_F32, nullptr), "positions[0] is -1");
    CHECK_INVALID(k.rope_forward(x, x, x, x, x, x, x, x, row, none, none, 1, 1, 1, 4, 4, 4, 4, GATUN_F32, nullptr), "key_rows[0] is -1");
  }
}

}  // namespace
}  // namespace gatun::testing
