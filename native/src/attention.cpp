/*
 * attention.cpp: attention over segments, forward and backward, block by block.
 *
 *   s = scale q k^T (soft-capped), p = exp(s - lse), out = p v
 *   delta = sum_d d_out out,  d_s = p (d_out v^T - delta)
 *   d_q = scale d_s k,  d_k = scale d_s^T q,  d_v = p^T d_out
 *
 * The query heads that share a key head are rows of one matrix: row = position * group + head, group = heads /
 * kv_heads, so their keys and values are read once and the causal diagonal of a block stays narrow. A block is kRows
 * such rows against kKeys keys. Scores are kept transposed, [keys, rows] with rows in the lanes of a vector: maxima and
 * sums over keys need no step across lanes, the queries are packed once per block as [head_dim, rows], and keys and
 * values are read in the order in which they lie. What the causal band or the window hides is skipped by whole key
 * ranges and by whole vectors of rows, and masked lane by lane only on the edge.
 *
 * Forward: one task per (segment, key head, block of rows), with running maximum and sum (Milakov & Gimelshein 2018,
 * Dao 2023). Backward: one task per (segment, key head), which owns the rows of d_k and d_v that it writes and sums
 * over its blocks in their order. No result depends on the number of threads.
 */
#include <cfloat>
#include <cmath>
#include <new>

#include "guard.h"
#include "rows.h"
#include "scratch.h"
#include "threads.h"
#include "transpose.h"

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

/** What all tasks of a call share. Pointers to activations are typed where they are read. */
struct Shape {
  int64_t heads, kv_heads, head_dim;
  int64_t padded_dim; /* head_dim up to whole vectors */
  int64_t q_stride;
  float scale, softcap;
  int64_t window;

  int64_t group() const { return heads / kv_heads; }
  int64_t kv_stride() const { return kv_heads * head_dim; }
};

/** Rows [first, first + count) of a segment's matrix of query rows, and the keys that each sees: [low, high]. */
struct alignas(64) Rows {
  int32_t low[kRows];
  int32_t high[kRows];
  int64_t first;
  int count;
  int vectors; /* that hold rows; lanes beyond count repeat the last row's range */

  Rows(const gatun_segment &segment, const Shape &shape, int64_t first_row) : first(first_row) {
    const int64_t group = shape.group();
    const int64_t left = segment.query_length * group - first_row;
    count = static_cast<int>(left < kRows ? left : kRows);
    vectors = (count + kLanes - 1) / kLanes;
    const int64_t shift = segment.key_length - segment.query_length;
    for (int r = 0; r < kRows; ++r) {
      const int64_t position = (first_row + (r < count ? r : count - 1)) / group;
      const int64_t last = position + shift;
      high[r] = static_cast<int32_t>(last);
      low[r] = shape.window > 0 && last + 1 > shape.window ? static_cast<int32_t>(last + 1 - shape.window) : 0;
    }
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

/** dots[key][v] = sum_d y[key][d] x[d][v], for kTileKeys rows of y and V vectors of rows of x. y rows of y_stride; x
 * [dim, kRows]. */
template <int V>
GATUN_INLINE void dot_tile(floats (&dots)[kTileKeys][V], const float *y, int64_t y_stride, const float *x, int64_t dim) {
  for (int key = 0; key < kTileKeys; ++key) {
    for (int v = 0; v < V; ++v) dots[key][v] = floats{};
  }
  for (int64_t d = 0; d < dim; ++d) {
    floats column[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) column[v] = load(x + d * kRows + v * kLanes, Whole{});
#pragma GCC unroll 8
    for (int key = 0; key < kTileKeys; ++key) {
      const floats element = splat(y[key * y_stride + d]);
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) dots[key][v] = fma(element, column[v], dots[key][v]);
    }
  }
}

/**
 * sums[d][v] = sums[d][v] * factor[v] + sum over keys of y[key][d] p[key][v], for V vectors of rows.
 * sums [dim, kRows]; p [keys, kRows]; y rows of y_stride. factor NULL: 1.
 */
template <int V>
GATUN_INLINE void accumulate(float *sums, const float *p, const float *y, int64_t y_stride, int keys, int64_t dim, const floats *factor) {
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
    for (int key = 0; key < keys; ++key) {
      floats weight[V];
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) weight[v] = load(p + key * kRows + v * kLanes, Whole{});
#pragma GCC unroll 8
      for (int i = 0; i < kTileColumns; ++i) {
        const floats element = splat(y[key * y_stride + d + i]);
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) sum[i][v] = fma(element, weight[v], sum[i][v]);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kTileColumns; ++i) {
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) store(sums + (d + i) * kRows + v * kLanes, sum[i][v], Whole{});
    }
  }
}

/** sums[key][d] += sum over rows [begin, end) of p[key][row] x[row][d], for 4 keys and N vectors of d. p [keys, kRows].
 */
template <int N>
GATUN_INLINE void outer_tile(float *sums, const float *p, const float *x, int64_t stride, int begin, int end) {
  floats sum[4][N];
#pragma GCC unroll 4
  for (int key = 0; key < 4; ++key) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) sum[key][v] = load(sums + key * stride + v * kLanes, Whole{});
  }
  for (int row = begin; row < end; ++row) {
    floats values[N];
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) values[v] = load(x + row * stride + v * kLanes, Whole{});
#pragma GCC unroll 4
    for (int key = 0; key < 4; ++key) {
      const floats weight = splat(p[key * kRows + row]);
#pragma GCC unroll 4
      for (int v = 0; v < N; ++v) sum[key][v] = fma(weight, values[v], sum[key][v]);
    }
  }
#pragma GCC unroll 4
  for (int key = 0; key < 4; ++key) {
#pragma GCC unroll 4
    for (int v = 0; v < N; ++v) store(sums + key * stride + v * kLanes, sum[key][v], Whole{});
  }
}

/** The same for kTileKeys keys and all of d. */
GATUN_INLINE void outer(float *sums, const float *p, const float *x, int64_t padded_dim, int begin, int end) {
#if defined(__AVX512F__) || defined(__aarch64__)
  constexpr int kWide = 4;
#else
  constexpr int kWide = 2;
#endif
  for (int key = 0; key < kTileKeys; key += 4) {
    float *out = sums + key * padded_dim;
    const float *weights = p + key * kRows;
    int64_t d = 0;
    for (; d + kWide * kLanes <= padded_dim; d += kWide * kLanes) {
      outer_tile<kWide>(out + d, weights, x + d, padded_dim, begin, end);
    }
    for (; d < padded_dim; d += kLanes) outer_tile<1>(out + d, weights, x + d, padded_dim, begin, end);
  }
}

/** dst[0..dim) = factor * src[0..dim), then zeros up to a whole vector. */
template <class T>
GATUN_INLINE void pack_row(float *dst, const T *src, int64_t dim, float factor) {
  for_vectors(dim, [&](int64_t d, auto span) { store(dst + d, load(src + d, span) * factor, Whole{}); });
}

/** dst [keys up to whole tiles, padded_dim] = rows of keys or values of one key head, then rows of zeros. */
template <class T>
void pack_keys(float *dst, const T *src, int64_t src_stride, int64_t keys, const Shape &shape) {
  for (int64_t key = 0; key < keys; ++key) {
    pack_row(dst + key * shape.padded_dim, src + key * src_stride, shape.head_dim, 1.0f);
  }
  for (int64_t key = keys; key % kTileKeys != 0; ++key) {
    std::memset(dst + key * shape.padded_dim, 0, sizeof(float) * static_cast<size_t>(shape.padded_dim));
  }
}

/** Address of query row `row` of a matrix whose tokens lie `stride` apart. */
template <class T>
GATUN_INLINE T *query_row(T *base, const gatun_segment &segment, int64_t row, int64_t kv_head, int64_t stride, const Shape &shape) {
  const int64_t group = shape.group();
  return base + (segment.query_begin + row / group) * stride + (kv_head * group + row % group) * shape.head_dim;
}

/** packed [kRows, padded_dim] = factor * rows, zeros beyond rows.count; transposed [head_dim, kRows]. */
template <class T>
void pack_queries(float *packed, float *transposed, const T *base, const gatun_segment &segment, const Rows &rows, int64_t kv_head, int64_t stride,
                  const Shape &shape, float factor) {
  for (int r = 0; r < rows.count; ++r) {
    pack_row(packed + r * shape.padded_dim, query_row(base, segment, rows.first + r, kv_head, stride, shape), shape.head_dim, factor);
  }
  const int64_t lanes = int64_t{rows.vectors} * kLanes;
  for (int64_t r = rows.count; r < lanes; ++r) {
    std::memset(packed + r * shape.padded_dim, 0, sizeof(float) * static_cast<size_t>(shape.padded_dim));
  }
  transpose(transposed, kRows, packed, shape.padded_dim, lanes, shape.head_dim);
}

template <class T>
struct Forward {
  T *out;
  float *lse;
  const T *q, *k, *v;
  Shape shape;

  /** Floats of scratch that a task needs. */
  int64_t scratch_floats() const { return 2 * kRows * shape.padded_dim + kRows * shape.head_dim + kKeys * kRows + 2 * kKeys * shape.padded_dim; }

  void run(const gatun_segment &segment, int64_t kv_head, int64_t first_row, float *scratch) const {
    const Rows rows(segment, shape, first_row);
    float *packed = scratch;
    float *queries = packed + kRows * shape.padded_dim;
    float *sums = queries + kRows * shape.padded_dim;
    float *scores = sums + kRows * shape.head_dim;
    float *keys = scores + kKeys * kRows;
    float *values = keys + kKeys * shape.padded_dim;
    const T *k_head = k + segment.key_begin * shape.kv_stride() + kv_head * shape.head_dim;
    const T *v_head = v + segment.key_begin * shape.kv_stride() + kv_head * shape.head_dim;

    pack_queries(packed, queries, q, segment, rows, kv_head, shape.q_stride, shape, shape.scale);
    std::memset(sums, 0, sizeof(float) * static_cast<size_t>(kRows * shape.head_dim));
    floats maximum[kVectors], total[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      maximum[i] = splat(-FLT_MAX);  // not -inf: a row that has seen no key yet must not give inf - inf
      total[i] = floats{};
    }

    for (int32_t begin = rows.first_key(); begin < rows.key_end(); begin += kKeys) {
      const int count = rows.key_end() - begin < kKeys ? rows.key_end() - begin : kKeys;
      pack_keys(keys, k_head + begin * shape.kv_stride(), shape.kv_stride(), count, shape);
      pack_keys(values, v_head + begin * shape.kv_stride(), shape.kv_stride(), count, shape);
      block(rows, begin, count, queries, keys, values, scores, sums, maximum, total);
    }
    write(segment, rows, kv_head, packed, sums, maximum, total);
  }

 private:
  void block(const Rows &rows, int32_t begin, int count, const float *queries, const float *keys, const float *values, float *scores, float *sums,
             floats *maximum, floats *total) const {
    const int tiles = (count + kTileKeys - 1) / kTileKeys;
    floats highest[kVectors];
    for (int i = 0; i < kVectors; ++i) highest[i] = maximum[i];
    int first_vector[kTiles];
    for (int tile = 0; tile < tiles; ++tile) {
      const int32_t key = begin + tile * kTileKeys;
      first_vector[tile] = rows.first_vector(key);
      for_strips(first_vector[tile], rows.vectors, [&](int vector, auto n) {
        constexpr int V = decltype(n)::value;
        floats s[kTileKeys][V];
        dot_tile(s, keys + tile * kTileKeys * shape.padded_dim, shape.padded_dim, queries + vector * kLanes, shape.head_dim);
        for (int j = 0; j < V; ++j) {
          const bool whole = rows.sees_all(vector + j, key);
          for (int i = 0; i < kTileKeys; ++i) {
            floats score = s[i][j];
            if (shape.softcap > 0) score = shape.softcap * tanh(score / shape.softcap);
            if (!whole) score = rows.visible(vector + j, key + i) ? score : splat(-HUGE_VALF);
            highest[vector + j] = max(highest[vector + j], score);
            store(scores + (tile * kTileKeys + i) * kRows + (vector + j) * kLanes, score, Whole{});
          }
        }
      });
    }

    floats factor[kVectors];
    for (int vector = 0; vector < rows.vectors; ++vector) {
      int seen = tiles;
      while (seen > 0 && first_vector[seen - 1] > vector) --seen;
      const int end = seen * kTileKeys < count ? seen * kTileKeys : count;
      factor[vector] = exp(maximum[vector] - highest[vector]);
      maximum[vector] = highest[vector];
      floats sum = floats{};
      for (int i = 0; i < end; ++i) {
        float *score = scores + i * kRows + vector * kLanes;
        const floats p = exp(load(score, Whole{}) - maximum[vector]);
        sum += p;
        store(score, p, Whole{});
      }
      total[vector] = fma(total[vector], factor[vector], sum);
    }

    // Runs of tiles that the same vectors see; later runs are seen by fewer.
    for (int tile = 0; tile < tiles;) {
      int next = tile + 1;
      while (next < tiles && first_vector[next] == first_vector[tile]) ++next;
      const int first = tile * kTileKeys;
      const int end = next * kTileKeys < count ? next * kTileKeys : count;
      for_strips(first_vector[tile], rows.vectors, [&](int vector, auto n) {
        constexpr int V = decltype(n)::value;
        accumulate<V>(sums + vector * kLanes, scores + first * kRows + vector * kLanes, values + first * shape.padded_dim, shape.padded_dim,
                      end - first, shape.head_dim, tile == 0 ? factor + vector : nullptr);
      });
      tile = next;
    }
  }

  void write(const gatun_segment &segment, const Rows &rows, int64_t kv_head, float *packed, float *sums, const floats *maximum,
             const floats *total) const {
    float highest[kRows], sum[kRows];
    for (int vector = 0; vector < rows.vectors; ++vector) {
      const floats inverse = 1.0f / total[vector];
      for (int64_t d = 0; d < shape.head_dim; ++d) {
        float *p = sums + d * kRows + vector * kLanes;
        store(p, load(p, Whole{}) * inverse, Whole{});
      }
      store(highest + vector * kLanes, maximum[vector], Whole{});
      store(sum + vector * kLanes, total[vector], Whole{});
    }
    transpose(packed, shape.padded_dim, sums, kRows, shape.head_dim, int64_t{rows.vectors} * kLanes);
    for (int r = 0; r < rows.count; ++r) {
      const int64_t row = rows.first + r;
      T *target = query_row(out, segment, row, kv_head, shape.heads * shape.head_dim, shape);
      for_vectors(shape.head_dim, [&](int64_t d, auto span) { store(target + d, load(packed + r * shape.padded_dim + d, span), span); });
      if (lse != nullptr) {
        const int64_t group = shape.group();
        lse[(segment.query_begin + row / group) * shape.heads + kv_head * group + row % group] = highest[r] + std::log(sum[r]);
      }
    }
  }
};

template <class T>
struct Backward {
  T *d_q, *d_k, *d_v;
  const T *d_out, *out;
  const float *lse;
  const T *q, *k, *v;
  Shape shape;
  int64_t d_q_stride;

  int64_t scratch_floats(int64_t key_length) const {
    const int64_t keys = key_length + kTileKeys;
    return 4 * keys * shape.padded_dim + 6 * kRows * shape.padded_dim + 2 * kKeys * kRows;
  }

  void run(const gatun_segment &segment, int64_t kv_head, float *scratch) const {
    const int64_t key_floats = (segment.key_length + kTileKeys) * shape.padded_dim;
    const int64_t row_floats = kRows * shape.padded_dim;
    Buffers b;
    b.keys = scratch;
    b.values = b.keys + key_floats;
    b.d_keys = b.values + key_floats;
    b.d_values = b.d_keys + key_floats;
    b.queries = b.d_values + key_floats;
    b.d_outs = b.queries + row_floats;
    b.packed_queries = b.d_outs + row_floats;
    b.packed_d_outs = b.packed_queries + row_floats;
    b.d_queries = b.packed_d_outs + row_floats;
    b.p = b.d_queries + row_floats;
    b.d_s = b.p + kKeys * kRows;

    const int64_t head_offset = segment.key_begin * shape.kv_stride() + kv_head * shape.head_dim;
    pack_keys(b.keys, k + head_offset, shape.kv_stride(), segment.key_length, shape);
    pack_keys(b.values, v + head_offset, shape.kv_stride(), segment.key_length, shape);
    std::memset(b.d_keys, 0, sizeof(float) * static_cast<size_t>(2 * key_floats));

    const int64_t num_rows = segment.query_length * shape.group();
    for (int64_t first_row = 0; first_row < num_rows; first_row += kRows) query_block(segment, kv_head, first_row, b);

    for (int64_t key = 0; key < segment.key_length; ++key) {
      const int64_t target = head_offset + key * shape.kv_stride();
      for_vectors(shape.head_dim, [&](int64_t d, auto span) {
        store(d_k + target + d, load(b.d_keys + key * shape.padded_dim + d, span), span);
        store(d_v + target + d, load(b.d_values + key * shape.padded_dim + d, span), span);
      });
    }
  }

 private:
  struct Buffers {
    float *keys, *values, *d_keys, *d_values;  // [key_length up to whole tiles, padded_dim]
    float *queries, *d_outs;                   // [kRows, padded_dim]; queries times scale
    float *packed_queries, *packed_d_outs;     // [head_dim, kRows]
    float *d_queries;                          // [head_dim, kRows]
    float *p, *d_s;                            // [kKeys, kRows]
  };

  void query_block(const gatun_segment &segment, int64_t kv_head, int64_t first_row, const Buffers &b) const {
    const Rows rows(segment, shape, first_row);
    const int64_t out_stride = shape.heads * shape.head_dim;
    pack_queries(b.queries, b.packed_queries, q, segment, rows, kv_head, shape.q_stride, shape, shape.scale);
    pack_queries(b.d_outs, b.packed_d_outs, d_out, segment, rows, kv_head, out_stride, shape, 1.0f);
    std::memset(b.d_queries, 0, sizeof(float) * static_cast<size_t>(kRows * shape.head_dim));

    alignas(64) float row_lse[kRows] = {};
    alignas(64) float row_delta[kRows] = {};
    const int64_t group = shape.group();
    for (int r = 0; r < rows.count; ++r) {
      const int64_t row = rows.first + r;
      const T *values = query_row(out, segment, row, kv_head, out_stride, shape);
      floats delta{};
      for_vectors(shape.head_dim,
                  [&](int64_t d, auto span) { delta = fma(load(values + d, span), load(b.d_outs + r * shape.padded_dim + d, Whole{}), delta); });
      row_delta[r] = sum(delta);
      row_lse[r] = lse[(segment.query_begin + row / group) * shape.heads + kv_head * group + row % group];
    }

    for (int32_t begin = rows.first_key(); begin < rows.key_end(); begin += kKeys) {
      key_block(rows, begin, row_lse, row_delta, b);
    }

    // The scores are no longer needed: their queries' rows take d_q.
    transpose(b.queries, shape.padded_dim, b.d_queries, kRows, shape.head_dim, int64_t{rows.vectors} * kLanes);
    for (int r = 0; r < rows.count; ++r) {
      T *target = query_row(d_q, segment, rows.first + r, kv_head, d_q_stride, shape);
      for_vectors(shape.head_dim,
                  [&](int64_t d, auto span) { store(target + d, load(b.queries + r * shape.padded_dim + d, span) * shape.scale, span); });
    }
  }

  void key_block(const Rows &rows, int32_t begin, const float *row_lse, const float *row_delta, const Buffers &b) const {
    const int count = rows.key_end() - begin < kKeys ? rows.key_end() - begin : kKeys;
    const int tiles = (count + kTileKeys - 1) / kTileKeys;
    const float *keys = b.keys + begin * shape.padded_dim;
    const float *values = b.values + begin * shape.padded_dim;
    int first_vector[kTiles];
    for (int tile = 0; tile < tiles; ++tile) {
      const int32_t key = begin + tile * kTileKeys;
      first_vector[tile] = rows.first_vector(key);
      for_strips(first_vector[tile], rows.vectors, [&](int vector, auto n) {
        constexpr int V = decltype(n)::value;
        scores<V>(rows, vector, tile, key, keys, values, row_lse, row_delta, b);
      });
      const int first_row = first_vector[tile] * kLanes;
      const int64_t sums = (begin + tile * kTileKeys) * shape.padded_dim;
      const int64_t weights = int64_t{tile} * kTileKeys * kRows;
      outer(b.d_values + sums, b.p + weights, b.d_outs, shape.padded_dim, first_row, rows.count);
      outer(b.d_keys + sums, b.d_s + weights, b.queries, shape.padded_dim, first_row, rows.count);
    }
    for (int tile = 0; tile < tiles;) {
      int next = tile + 1;
      while (next < tiles && first_vector[next] == first_vector[tile]) ++next;
      const int first = tile * kTileKeys;
      const int end = next * kTileKeys < count ? next * kTileKeys : count;
      for_strips(first_vector[tile], rows.vectors, [&](int vector, auto n) {
        constexpr int V = decltype(n)::value;
        accumulate<V>(b.d_queries + vector * kLanes, b.d_s + first * kRows + vector * kLanes, keys + first * shape.padded_dim, shape.padded_dim,
                      end - first, shape.head_dim, nullptr);
      });
      tile = next;
    }
  }

  /** p and d_s of one tile of keys and V vectors of rows. */
  template <int V>
  GATUN_INLINE void scores(const Rows &rows, int vector, int tile, int32_t key, const float *keys, const float *values, const float *row_lse,
                           const float *row_delta, const Buffers &b) const {
    const int64_t first = int64_t{tile} * kTileKeys;
    floats s[kTileKeys][V];
    dot_tile(s, keys + first * shape.padded_dim, shape.padded_dim, b.packed_queries + vector * kLanes, shape.head_dim);
    floats slope[kTileKeys][V];  // d (capped score) / d score
    for (int j = 0; j < V; ++j) {
      const bool whole = rows.sees_all(vector + j, key);
      const floats log_sum = load(row_lse + (vector + j) * kLanes, Whole{});
      for (int i = 0; i < kTileKeys; ++i) {
        floats score = s[i][j];
        if (shape.softcap > 0) {
          const floats t = tanh(score / shape.softcap);
          slope[i][j] = 1.0f - t * t;
          score = shape.softcap * t;
        }
        floats p = exp(score - log_sum);
        if (!whole) p = rows.visible(vector + j, key + i) ? p : floats{};
        store(b.p + (first + i) * kRows + (vector + j) * kLanes, p, Whole{});
      }
    }
    floats d_p[kTileKeys][V];
    dot_tile(d_p, values + first * shape.padded_dim, shape.padded_dim, b.packed_d_outs + vector * kLanes, shape.head_dim);
    for (int j = 0; j < V; ++j) {
      const floats delta = load(row_delta + (vector + j) * kLanes, Whole{});
      for (int i = 0; i < kTileKeys; ++i) {
        const int64_t place = (first + i) * kRows + (vector + j) * kLanes;
        floats d_s = load(b.p + place, Whole{}) * (d_p[i][j] - delta);
        if (shape.softcap > 0) d_s *= slope[i][j];
        store(b.d_s + place, d_s, Whole{});
      }
    }
  }
};

// ---- the rows of the table ----

void check_attention(const gatun_segment *segments, const gatun_segment *host_segments, int64_t num_segments, const Shape &shape, int64_t q_stride) {
  check_extent("num_segments", num_segments);
  check_positive("heads", shape.heads);
  check_positive("kv_heads", shape.kv_heads);
  if (shape.heads % shape.kv_heads != 0) {
    invalid("heads is %lld, expected a multiple of kv_heads = %lld", static_cast<long long>(shape.heads), static_cast<long long>(shape.kv_heads));
  }
  if (shape.head_dim < 8 || shape.head_dim > 256 || shape.head_dim % 8 != 0) {
    unsupported("head_dim is %lld, expected a multiple of 8 from 8 to 256", static_cast<long long>(shape.head_dim));
  }
  check_stride("q_stride", q_stride, shape.heads * shape.head_dim);
  check_extent("window", shape.window);
  if (!(shape.softcap >= 0)) invalid("softcap is %g, expected 0 (none) or more", static_cast<double>(shape.softcap));
  if (num_segments == 0) return;
  check_pointer("segments", segments);
  check_pointer("host_segments", host_segments);
  for (int64_t i = 0; i < num_segments; ++i) {
    const gatun_segment &s = segments[i];
    if (s.query_begin < 0 || s.key_begin < 0 || s.query_length < 1 || s.key_length < s.query_length) {
      invalid(
          "segments[%lld] is (query_begin %d, query_length %d, key_begin %d, key_length %d), expected begins of 0 or "
          "more and 1 <= query_length <= key_length",
          static_cast<long long>(i), s.query_begin, s.query_length, s.key_begin, s.key_length);
    }
  }
}

Shape shape_of(int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_stride, float scale, float softcap, int64_t window) {
  return {heads, kv_heads, head_dim, (head_dim + kLanes - 1) / kLanes * kLanes, q_stride, scale, softcap, window};
}

/** Scores that a segment computes for one query head, about. */
int64_t visible_scores(const gatun_segment &s, int64_t window) {
  const int64_t triangle = int64_t{s.query_length} * (s.query_length - 1) / 2;
  const int64_t all = int64_t{s.query_length} * s.key_length - triangle;
  const int64_t band = window > 0 ? s.query_length * window : all;
  return band < all ? band : all;
}

thread_local Scratch task_scratch;

/** Calls body(task, scratch) for every task, each thread with its own scratch. `work`: multiply-adds of all tasks. */
template <class Body>
void run_tasks(int64_t tasks, int64_t work, int64_t scratch_floats, const Body &body) {
  constexpr int64_t kParallelWork = int64_t{1} << 19;
  const size_t scratch_bytes = sizeof(float) * static_cast<size_t>(scratch_floats);
  bool failed = false;
  const auto run = [&](int64_t task) {
    void *scratch = task_scratch.reserve(scratch_bytes);
    if (scratch != nullptr) {
      body(task, static_cast<float *>(scratch));
    } else {
#pragma omp atomic write
      failed = true;
    }
  };
  if (pool_threads() == 1 || tasks == 1 || work < kParallelWork) {
    for (int64_t task = 0; task < tasks; ++task) run(task);
  } else {
#pragma omp parallel for schedule(dynamic, 1) num_threads(pool_threads())
    for (int64_t task = 0; task < tasks; ++task) run(task);
  }
  if (failed) throw std::bad_alloc();
}

}  // namespace

int32_t attention_forward(void *out, float *lse, const void *q, const void *k, const void *v, const gatun_segment *segments,
                          const gatun_segment *host_segments, int64_t num_segments, int64_t heads, int64_t kv_heads, int64_t head_dim,
                          int64_t q_stride, float scale, float softcap, int64_t window, int32_t dtype, void *workspace, void *) {
  return guarded("attention_forward", [&] {
    const Shape shape = shape_of(heads, kv_heads, head_dim, q_stride, scale, softcap, window);
    check_attention(segments, host_segments, num_segments, shape, q_stride);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_segments == 0) return;
      check_pointer("out", out);
      check_pointer("q", q);
      check_pointer("k", k);
      check_pointer("v", v);
      check_pointer("workspace", workspace);
      const Forward<T> forward{static_cast<T *>(out), lse, static_cast<const T *>(q), static_cast<const T *>(k), static_cast<const T *>(v), shape};
      // task_begin[s]: first task of segment s.
      int64_t *task_begin = static_cast<int64_t *>(workspace);
      int64_t tasks = 0, work = 0;
      for (int64_t s = 0; s < num_segments; ++s) {
        task_begin[s] = tasks;
        tasks += kv_heads * ((segments[s].query_length * shape.group() + kRows - 1) / kRows);
        work += 2 * head_dim * heads * visible_scores(segments[s], window);
      }
      run_tasks(tasks, work, forward.scratch_floats(), [&](int64_t task, float *scratch) {
        int64_t s = 0;
        for (int64_t end = num_segments; end - s > 1;) {
          const int64_t middle = (s + end) / 2;
          (task_begin[middle] <= task ? s : end) = middle;
        }
        const int64_t blocks = (segments[s].query_length * shape.group() + kRows - 1) / kRows;
        const int64_t local = task - task_begin[s];
        const int64_t block = blocks - 1 - local % blocks;  // the longest first
        forward.run(segments[s], local / blocks, block * kRows, scratch);
      });
    });
  });
}

int32_t attention_backward(void *d_q, void *d_k, void *d_v, const void *d_out, const void *out, const float *lse, const void *q, const void *k,
                           const void *v, const gatun_segment *segments, const gatun_segment *host_segments, int64_t num_segments, int64_t heads,
                           int64_t kv_heads, int64_t head_dim, int64_t d_q_stride, int64_t q_stride, float scale, float softcap, int64_t window,
                           int32_t dtype, void *workspace, void *) {
  return guarded("attention_backward", [&] {
    const Shape shape = shape_of(heads, kv_heads, head_dim, q_stride, scale, softcap, window);
    check_attention(segments, host_segments, num_segments, shape, q_stride);
    check_stride("d_q_stride", d_q_stride, heads * head_dim);
    with_dtype(dtype, [&]<class T>(T) {
      if (num_segments == 0) return;
      check_pointer("d_q", d_q);
      check_pointer("d_k", d_k);
      check_pointer("d_v", d_v);
      check_pointer("d_out", d_out);
      check_pointer("out", out);
      check_pointer("lse", lse);
      check_pointer("q", q);
      check_pointer("k", k);
      check_pointer("v", v);
      check_pointer("workspace", workspace);
      const Backward<T> backward{static_cast<T *>(d_q),
                                 static_cast<T *>(d_k),
                                 static_cast<T *>(d_v),
                                 static_cast<const T *>(d_out),
                                 static_cast<const T *>(out),
                                 lse,
                                 static_cast<const T *>(q),
                                 static_cast<const T *>(k),
                                 static_cast<const T *>(v),
                                 shape,
                                 d_q_stride};
      int64_t work = 0;
      int64_t longest = 0;
      for (int64_t s = 0; s < num_segments; ++s) {
        work += 5 * head_dim * heads * visible_scores(segments[s], window);
        if (segments[s].key_length > longest) longest = segments[s].key_length;
      }
      run_tasks(num_segments * kv_heads, work, backward.scratch_floats(longest),
                [&](int64_t task, float *scratch) { backward.run(segments[task / kv_heads], task % kv_heads, scratch); });
    });
  });
}

}  // namespace gatun::GATUN_ISA
