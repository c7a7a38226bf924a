/*
 * attention_block.h: a block of attention, kRows query rows against kKeys keys: who sees whom, its operands, and its three kinds of products.
 *
 * Operands are words (words.h): one f32, or a pair of bf16 where the activations are bf16 and the CPU multiplies such pairs. Pairs lie in the
 * dimension that a product sums over, so that an operand of two products may be kept in two forms:
 *   rows   [rows, padded_dim / kStep]   as activations lie: pairs of columns
 *   pairs  [rows / kStep, padded_dim]   pairs of rows
 * Words of f32 have one form, both names of which are the same memory. Sums are always f32.
 */
#ifndef GATUN_ATTENTION_BLOCK_H
#define GATUN_ATTENTION_BLOCK_H

#include <type_traits>

#include "attention.h"
#include "transpose.h"
#include "words.h"

namespace gatun::GATUN_ISA {
namespace {

/* Registers hold kTileKeys x kTileVectors sums, kTileVectors vectors of the packed operand and one broadcast. */
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileKeys = 8;
#else
constexpr int kTileKeys = 4;
#endif
constexpr int kTileVectors = 3;
/* Columns of head_dim per tile of an accumulated product; head_dim is a multiple of it. */
constexpr int kTileColumns = kTileKeys;
constexpr int kRows = 48;
constexpr int kVectors = kRows / kLanes;
constexpr int kKeys = 64;
constexpr int kTiles = kKeys / kTileKeys;
static_assert(kRows % (kTileVectors * kLanes) == 0 && kKeys % kTileKeys == 0 && kKeys % 4 == 0);

/** What activations of type T are multiplied as. */
#if defined(__AVX512BF16__)
template <class T>
using WordsOf = std::conditional_t<std::is_same_v<T, bf16>, Bf16Words, F32Words>;
#else
template <class T>
using WordsOf = F32Words;
#endif

/** Scale goes into f32 queries; bf16 ones stay as they are, exact, and what they give is scaled. */
template <class Words>
constexpr bool kScalesQueries = Words::kStep == 1;

/** At most kRows rows of a segment's matrix of query rows, from first_row on: whose they are, and the keys that each sees, [low, high]. */
struct alignas(64) Rows {
  int32_t low[kRows];
  int32_t high[kRows];
  int64_t token[kRows];
  int64_t head[kRows];
  int count;
  int vectors; /* that hold rows; lanes beyond count repeat the last row */

  Rows(const gatun_segment &segment, int64_t kv_head, const Shape &shape, int64_t first_row) {
    const int64_t group = shape.group();
    const int64_t left = segment.query_length * group - first_row;
    count = static_cast<int>(left < kRows ? left : kRows);
    vectors = (count + kLanes - 1) / kLanes;
    const int64_t shift = segment.key_length - segment.query_length;
    int64_t position = first_row / group;
    int64_t member = first_row % group;
    for (int r = 0; r < kRows; ++r) {
      token[r] = segment.query_begin + position;
      head[r] = kv_head * group + member;
      const int64_t last = position + shift;
      high[r] = static_cast<int32_t>(last);
      low[r] = shape.window > 0 && last + 1 > shape.window ? static_cast<int32_t>(last + 1 - shape.window) : 0;
      if (r + 1 < count && ++member == group) {
        member = 0;
        ++position;
      }
    }
  }
  /** Where row r lies in a matrix whose tokens lie `stride` apart. */
  template <class T>
  T *of(T *base, int r, int64_t stride, const Shape &shape) const {
    return base + token[r] * stride + head[r] * shape.head_dim;
  }
  int32_t first_key() const { return low[0]; }
  int32_t key_end() const { return high[kRows - 1] + 1; }
  /** The first vector with a row that sees `key` or a later one. */
  int first_vector(int32_t key) const {
    int v = 0;
    while (v < vectors && high[v * kLanes + kLanes - 1] < key) ++v;
    return v;
  }
  bool sees_all(int vector, int32_t first_key_of_tile) const {
    return high[vector * kLanes] >= first_key_of_tile + kTileKeys - 1 && low[vector * kLanes + kLanes - 1] <= first_key_of_tile;
  }
  ints visible(int vector, int32_t key) const {
    const ints lows = load_lanes<ints>(low + vector * kLanes, Whole{});
    const ints highs = load_lanes<ints>(high + vector * kLanes, Whole{});
    return (highs >= key) & (lows <= key);
  }
};

/** Calls body with std::integral_constant-like numbers 1..kTileVectors: how many vectors of a strip are at work. */
template <int N>
struct Count {
  static constexpr int value = N;
};
template <class Body>
GATUN_INLINE void with_count(int count, const Body &body) {
  static_assert(kTileVectors == 3);
  switch (count) {
    case 3:
      body(Count<3>{});
      return;
    case 2:
      body(Count<2>{});
      return;
    case 1:
      body(Count<1>{});
      return;
    default:
      return;
  }
}

/** For each strip of kTileVectors vectors inside [begin, end): body(first vector, Count of vectors). */
template <class Body>
GATUN_INLINE void for_strips(int begin, int end, const Body &body) {
  for (int strip = begin / kTileVectors * kTileVectors; strip < end; strip += kTileVectors) {
    const int first = strip < begin ? begin : strip;
    const int last = strip + kTileVectors < end ? strip + kTileVectors : end;
    with_count(last - first, [&](auto n) { body(first, n); });
  }
}

/** dots[key][v] = sum over words l of y[key][l] x[l][v], for kTileKeys rows of y and V vectors of rows of x. y rows of y_stride; x [words, kRows].
 */
template <class Words, int V>
GATUN_INLINE void dot_tile(floats (&dots)[kTileKeys][V], const float *y, int64_t y_stride, const float *x, int64_t words) {
  for (int key = 0; key < kTileKeys; ++key) {
    for (int v = 0; v < V; ++v) dots[key][v] = floats{};
  }
  for (int64_t l = 0; l < words; ++l) {
    floats column[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) column[v] = load(x + l * kRows + v * kLanes, Whole{});
#pragma GCC unroll 8
    for (int key = 0; key < kTileKeys; ++key) {
      const float word = y[key * y_stride + l];
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) dots[key][v] = Words::multiply_add(word, column[v], dots[key][v]);
    }
  }
}

/**
 * sums[d][v] = sums[d][v] * factor[v] + sum over words of keys of y[word][d] p[word][v], for V vectors of rows.
 * sums [dim, kRows]; p [words, kRows]; y pairs of y_stride. factor NULL: 1.
 */
template <class Words, int V>
GATUN_INLINE void accumulate(float *sums, const float *p, const float *y, int64_t y_stride, int words, int64_t dim, const floats *factor) {
  for (int64_t d = 0; d < dim; d += kTileColumns) {
    floats sum[kTileColumns][V];
#pragma GCC unroll 8
    for (int i = 0; i < kTileColumns; ++i) {
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) {
        sum[i][v] = load(sums + (d + i) * kRows + v * kLanes, Whole{});
        if (factor != nullptr) sum[i][v] *= factor[v];
      }
    }
    for (int l = 0; l < words; ++l) {
      floats weight[V];
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) weight[v] = load(p + l * kRows + v * kLanes, Whole{});
#pragma GCC unroll 8
      for (int i = 0; i < kTileColumns; ++i) {
        const float word = y[l * y_stride + d + i];
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) sum[i][v] = Words::multiply_add(word, weight[v], sum[i][v]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kTileColumns; ++i) {
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) store(sums + (d + i) * kRows + v * kLanes, sum[i][v], Whole{});
    }
  }
}

/** sums[key][d] += sum over words of rows [begin, end) of p[key][word] x[word][d], for 4 keys and N vectors of d. p [keys, kRows / kStep]; x pairs.
 */
template <class Words, int N>
GATUN_INLINE void outer_tile(float *sums, const float *p, const float *x, int64_t stride, int begin, int end) {
  floats sum[4][N];
#pragma GCC unroll 4
  for (int key = 0; key < 4; ++key) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[key][v] = load(sums + key * stride + v * kLanes, Whole{});
  }
  for (int l = begin; l < end; ++l) {
    floats values[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) values[v] = load(x + l * stride + v * kLanes, Whole{});
#pragma GCC unroll 4
    for (int key = 0; key < 4; ++key) {
      const float weight = p[key * (kRows / Words::kStep) + l];
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[key][v] = Words::multiply_add(weight, values[v], sum[key][v]);
    }
  }
#pragma GCC unroll 4
  for (int key = 0; key < 4; ++key) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) store(sums + key * stride + v * kLanes, sum[key][v], Whole{});
  }
}

/** The same for kTileKeys keys and all of d, over rows [begin, end); begin is whole words, and a word that end cuts ends in a row of zeros. */
template <class Words>
GATUN_INLINE void outer(float *sums, const float *p, const float *x, int64_t padded_dim, int begin, int end) {
#if defined(__AVX512F__) || defined(__aarch64__)
  constexpr int kWide = 4;
#else
  constexpr int kWide = 2;
#endif
  const int first = begin / Words::kStep;
  const int last = (end + Words::kStep - 1) / Words::kStep;
  for (int key = 0; key < kTileKeys; key += 4) {
    float *out = sums + key * padded_dim;
    const float *weights = p + key * (kRows / Words::kStep);
    int64_t d = 0;
    for (; d + kWide * kLanes <= padded_dim; d += kWide * kLanes) {
      outer_tile<Words, kWide>(out + d, weights, x + d, padded_dim, first, last);
    }
    for (; d < padded_dim; d += kLanes) outer_tile<Words, 1>(out + d, weights, x + d, padded_dim, first, last);
  }
}

/** dst[0..dim) = factor * src[0..dim), then zeros up to a whole vector; bf16 that stay bf16 are copied, whatever the factor. */
template <class To, class T>
GATUN_INLINE void pack_row(To *dst, const T *src, int64_t dim, float factor) {
  if constexpr (std::is_same_v<To, bf16>) {
    for_vectors(dim, [&](int64_t d, auto span) { store_lanes(dst + d, load_lanes<halfwords>(src + d, span), Whole{}); });
  } else {
    for_vectors(dim, [&](int64_t d, auto span) { store(dst + d, load(src + d, span) * factor, Whole{}); });
  }
}

/** dst [rows up to whole tiles, padded_dim / kStep]: rows of keys or values of one key head, then rows of zeros. */
template <class Words, class T>
void pack_rows(float *dst, const T *src, int64_t src_stride, int64_t rows, const Shape &shape) {
  const int64_t row_words = shape.padded_dim / Words::kStep;
  for (int64_t row = 0; row < rows; ++row) {
    pack_row(reinterpret_cast<typename Words::T *>(dst + row * row_words), src + row * src_stride, shape.head_dim, 1.0f);
  }
  for (int64_t row = rows; row % kTileKeys != 0; ++row) std::memset(dst + row * row_words, 0, sizeof(float) * static_cast<size_t>(row_words));
}

/** dst [rows up to whole tiles / kStep, padded_dim]: the same as pairs. */
template <class Words, class T>
void pack_pairs(float *dst, const T *src, int64_t src_stride, int64_t rows, const Shape &shape) {
  if constexpr (Words::kStep == 1) {
    pack_rows<Words>(dst, src, src_stride, rows, shape);
  } else {
    int64_t row = 0;
    for (; row < rows; row += 2) {
      const T *low = src + row * src_stride;
      for_vectors(shape.head_dim, [&](int64_t d, auto span) {
        words pair = zero_extend(load_lanes<halfwords>(low + d, span));
        if (row + 1 < rows) pair |= zero_extend(load_lanes<halfwords>(low + src_stride + d, span)) << 16;
        store_lanes(dst + row / 2 * shape.padded_dim + d, pair, Whole{});
      });
    }
    for (; row % kTileKeys != 0; row += 2) std::memset(dst + row / 2 * shape.padded_dim, 0, sizeof(float) * static_cast<size_t>(shape.padded_dim));
  }
}

/** packed [kRows, padded_dim / kStep] = factor * rows, zeros beyond rows.count; transposed [head_dim / kStep, kRows]. */
template <class Words, class T>
void pack_queries(float *packed, float *transposed, const T *base, const Rows &rows, int64_t stride, const Shape &shape, float factor) {
  const int64_t row_words = shape.padded_dim / Words::kStep;
  for (int r = 0; r < rows.count; ++r) {
    pack_row(reinterpret_cast<typename Words::T *>(packed + r * row_words), rows.of(base, r, stride, shape), shape.head_dim, factor);
  }
  const int64_t lanes = int64_t{rows.vectors} * kLanes;
  for (int64_t r = rows.count; r < lanes; ++r) std::memset(packed + r * row_words, 0, sizeof(float) * static_cast<size_t>(row_words));
  transpose(transposed, kRows, packed, row_words, lanes, shape.head_dim / Words::kStep);
}

}  // namespace
}  // namespace gatun::GATUN_ISA

#endif
