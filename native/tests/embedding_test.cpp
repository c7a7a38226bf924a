/* embedding and gather: rows by index. */
#include <cmath>

#include "testing.h"

namespace gatun::testing {
namespace {

struct Case {
  int64_t tokens, hidden, vocab, positions;
};
const Case kCases[] = {{1, 1, 1, 1},       {5, 17, 3, 4},       {33, 4, 300, 3}, {64, 31, 11, 64},
                       {301, 130, 97, 40}, {257, 640, 50, 300}, {700, 12, 2, 5}, {700, 4, 70001, 300}};

TEST(embedding_forward_and_backward) {
  for (const int32_t dtype : kDtypes) {
    for (const Case &c : kCases) {
      if (too_large(c.tokens, 50)) continue;
      for (const bool with_positions : {false, true}) {
        Random random(6);
        const float scale = 1.5f;
        const Array table(dtype, c.vocab * c.hidden, random), position_table(dtype, c.positions * c.hidden, random);
        const Array d_y(dtype, c.tokens * c.hidden, random);
        const Array d_table_before(GATUN_F32, c.vocab * c.hidden, random), d_positions_before(GATUN_F32, c.positions * c.hidden, random);
        std::vector<int32_t> ids, positions;
        for (int64_t t = 0; t < c.tokens; ++t) {
          ids.push_back(random.below(c.vocab));
          positions.push_back(random.below(c.positions));
        }
        on_every_table(
            [&](const gatun_kernels &k) {
              Array y(dtype, c.tokens * c.hidden), d_table(d_table_before), d_positions(d_positions_before);
              Array workspace = workspace_for(k, c.tokens, c.hidden);
              CHECK_OK(k.embedding_forward(y.data(), table.data(), with_positions ? position_table.data() : nullptr, ids.data(), positions.data(),
                                           c.tokens, c.hidden, c.vocab, c.positions, scale, dtype, nullptr));
              CHECK_OK(k.embedding_backward(d_table.floats(), with_positions ? d_positions.floats() : nullptr, d_y.data(), ids.data(),
                                            positions.data(), c.tokens, c.hidden, c.vocab, c.positions, scale, dtype, workspace.data(), nullptr));
              return std::vector<Array>{y, d_table, d_positions};
            },
            [&](const std::vector<Array> &out) {
              std::vector<double> d_table(c.vocab * c.hidden), d_positions(c.positions * c.hidden);
              for (int64_t i = 0; i < c.vocab * c.hidden; ++i) d_table[i] = d_table_before[i];
              for (int64_t i = 0; i < c.positions * c.hidden; ++i) d_positions[i] = d_positions_before[i];
              for (int64_t t = 0; t < c.tokens; ++t) {
                for (int64_t i = 0; i < c.hidden; ++i) {
                  double y = scale * table[ids[t] * c.hidden + i];
                  if (with_positions) y += position_table[positions[t] * c.hidden + i];
                  CHECK_NEAR(out[0][t * c.hidden + i], y, tolerance(dtype, 4), "y", t * c.hidden + i);
                  d_table[ids[t] * c.hidden + i] += scale * d_y[t * c.hidden + i];
                  if (with_positions) d_positions[positions[t] * c.hidden + i] += d_y[t * c.hidden + i];
                }
              }
              for (size_t i = 0; i < d_table.size(); ++i) CHECK_NEAR(out[1][i], d_table[i], tolerance(GATUN_F32, 60), "d_table", i);
              for (size_t i = 0; i < d_positions.size(); ++i) CHECK_NEAR(out[2][i], d_positions[i], tolerance(GATUN_F32, 60), "d_positions", i);
            });
      }
    }
  }
}

TEST(gather_takes_rows_and_puts_them_back) {
  for (const int32_t dtype : kDtypes) {
    for (const int64_t dim : {1, 17, 640}) {
      if (too_large(dim, 100)) continue;
      Random random(7);
      const int64_t tokens = 203;
      std::vector<int32_t> rows;
      for (int32_t t = 1; t < tokens; t += 1 + random.below(3)) rows.push_back(t);
      const int64_t count = static_cast<int64_t>(rows.size());
      const Array x(dtype, tokens * dim, random), d_y(dtype, count * dim, random);
      on_every_table(
          [&](const gatun_kernels &k) {
            Array y(dtype, count * dim), d_x(dtype, tokens * dim);
            CHECK_OK(k.gather_forward(y.data(), x.data(), rows.data(), count, dim, dtype, nullptr));
            CHECK_OK(k.gather_backward(d_x.data(), d_y.data(), rows.data(), count, tokens, dim, dtype, nullptr));
            return std::vector<Array>{y, d_x};
          },
          [&](const std::vector<Array> &out) {
            std::vector<double> d_x(tokens * dim);
            for (int64_t i = 0; i < count * dim; ++i) {
              const int64_t at = rows[i / dim] * dim + i % dim;
              CHECK_NEAR(out[0][i], x[at], 0, "y", i);
              d_x[at] = d_y[i];
            }
            for (int64_t i = 0; i < tokens * dim; ++i) CHECK_NEAR(out[1][i], d_x[i], 0, "d_x", i);
          });
    }
  }
}

TEST(indices_out_of_range_are_refused_by_place) {
  float x[8] = {};
  const int32_t good[] = {0, 1}, high[] = {0, 2}, low[] = {-1, 0};
  for (const Table &table : tables()) {
    const gatun_kernels &k = *table.kernels;
    CHECK_INVALID(k.embedding_forward(x, x, x, good, nullptr, 2, 2, 2, 2, 1, GATUN_F32, nullptr), "positions is NULL");
    if constexpr (!kChecksIndices) continue;
    CHECK_INVALID(k.embedding_forward(x, x, nullptr, high, good, 2, 2, 2, 2, 1, GATUN_F32, nullptr), "token_ids[1] is 2, expected 0 to 1");
    CHECK_INVALID(k.embedding_forward(x, x, x, good, low, 2, 2, 2, 2, 1, GATUN_F32, nullptr), "positions[0] is -1");
    CHECK_INVALID(k.embedding_backward(x, nullptr, x, high, nullptr, 2, 2, 2, 2, 1, GATUN_F32, x, nullptr), "token_ids[1] is 2");
    CHECK_INVALID(k.gather_forward(x, x, low, 2, 2, GATUN_F32, nullptr), "rows[0] is -1");
    CHECK_INVALID(k.gather_backward(x, x, high, 2, 2, 2, GATUN_F32, nullptr), "rows[1] is 2, expected 0 to 1");
  }
}

}  // namespace
}  // namespace gatun::testing
