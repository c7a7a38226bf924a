/*
 * embedding: y[t] = scale * table[token_ids[t]] + position_table[positions[t]].
 *   d_table[token_ids[t]] += scale * d_y[t]; d_position_table[positions[t]] += d_y[t]
 * Forward: threads take tokens. Backward: threads take columns, and each walks all tokens in their order, so that equal ids add up
 * in that order whatever the number of threads. Traffic: forward one read (two with positions) and one write per element; backward
 * one read of d_y and a read and a write of each gradient row.
 */
#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t embedding_forward(void *y, const void *table, const void *position_table, const int32_t *token_ids, const int32_t *positions, int64_t tokens,
                          int64_t hidden, int64_t vocab, int64_t max_positions, float scale, int32_t dtype, void *) {
  return guarded("embedding_forward", [&] {
    check_extent("tokens", tokens);
    check_positive("hidden", hidden);
    check_positive("vocab", vocab);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("y", y);
      check_pointer("table", table);
      check_pointer("token_ids", token_ids);
      check_indices("token_ids", token_ids, tokens, vocab);
      if (position_table != nullptr) {
        check_pointer("positions", positions);
        check_indices("positions", positions, tokens, max_positions);
      }
      parallel_for(tokens, tokens * hidden * 3 * int64_t{sizeof(T)}, [&](int64_t t) {
        T *out = static_cast<T *>(y) + t * hidden;
        const T *row = static_cast<const T *>(table) + token_ids[t] * hidden;
        if (position_table == nullptr) {
          for_vectors(hidden, [&](int64_t i, auto span) { store(out + i, scale * load(row + i, span), span); });
        } else {
          const T *position = static_cast<const T *>(position_table) + positions[t] * hidden;
          for_vectors(hidden, [&](int64_t i, auto span) { store(out + i, fma(scale, load(row + i, span), load(position + i, span)), span); });
        }
      });
    });
  });
}

int32_t embedding_backward(float *d_table, float *d_position_table, const void *d_y, const int32_t *token_ids, const int32_t *positions,
                           int64_t tokens, int64_t hidden, int64_t vocab, int64_t max_positions, float scale, int32_t dtype, void *, void *) {
  return guarded("embedding_backward", [&] {
    check_extent("tokens", tokens);
    check_positive("hidden", hidden);
    check_positive("vocab", vocab);
    with_dtype(dtype, [&]<class T>(T) {
      if (tokens == 0) return;
      check_pointer("d_table", d_table);
      check_pointer("d_y", d_y);
      check_pointer("token_ids", token_ids);
      check_indices("token_ids", token_ids, tokens, vocab);
      if (d_position_table != nullptr) {
        check_pointer("positions", positions);
        check_indices("positions", positions, tokens, max_positions);
      }
      constexpr int64_t kColumns = 128;
      parallel_for((hidden + kColumns - 1) / kColumns, tokens * hidden * 12, [&](int64_t slice) {
        const int64_t begin = slice * kColumns;
        const int64_t width = hidden - begin < kColumns ? hidden - begin : kColumns;
        for (int64_t t = 0; t < tokens; ++t) {
          const T *d_out = static_cast<const T *>(d_y) + t * hidden + begin;
          float *d_row = d_table + token_ids[t] * hidden + begin;
          for_vectors(width, [&](int64_t i, auto span) { store(d_row + i, fma(scale, load(d_out + i, span), load(d_row + i, span)), span); });
          if (d_position_table == nullptr) continue;
          float *d_position = d_position_table + positions[t] * hidden + begin;
          for_vectors(width, [&](int64_t i, auto span) { store(d_position + i, load(d_position + i, span) + load(d_out + i, span), span); });
        }
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
