/*
 * attention_backward: with s = bend(scale q k^T) and p = exp(s - lse), computed again from q, k and lse:
 *
 *   delta = sum_d d_out out,  d_s = p (d_out v^T - delta) bend'
 *   d_q = scale d_s k,  d_k = scale d_s^T q,  d_v = p^T d_out
 *
 * Blocks, and what of them is skipped or masked: as in attention_forward.cpp.
 *
 * bf16 with VDPBF16PS   products of bf16 pairs, summed in f32: those of q and k and of d_out and v are exact; p and d_s are rounded to bf16 for
 *                       d_v, d_k and d_q, d_s from the p before that. bf16 denormals count as zero.
 * otherwise             products of f32.
 *
 * FLOPs: 10 head_dim per pair of query head and key seen. Traffic: q, d_out, out, d_q, k, v, d_k and d_v once.
 * One task per (segment, key head), which owns the rows of d_k and d_v that it writes and sums over its blocks in
 * their order. Deterministic, whatever the number of threads.
 */
#include "attention_block.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class T>
struct Backward {
  T *d_q, *d_k, *d_v;
  const T *d_out, *out;
  const float *lse;
  const T *q, *k, *v;
  Shape shape;
  int64_t d_q_stride;

  using Words = WordsOf<T>;
  static constexpr int kStep = Words::kStep;

  int64_t scratch_floats(int64_t key_length) const {
    const int64_t keys = key_length + kTileKeys;
    return 4 * keys * shape.padded_dim + 6 * kRows * shape.padded_dim + 2 * kKeys * kRows;
  }

  void run(const gatun_segment &segment, int64_t kv_head, float *scratch) const {
    const int64_t key_floats = (segment.key_length + kTileKeys) * shape.padded_dim;
    const int64_t row_floats = kRows * shape.padded_dim;
    Buffers b;
    b.keys = scratch;
    b.key_pairs = kStep == 1 ? b.keys : b.keys + key_floats / 2;
    b.values = b.keys + key_floats;
    b.d_keys = b.values + key_floats;
    b.d_values = b.d_keys + key_floats;
    b.queries = b.d_values + key_floats;
    b.d_outs = b.queries + row_floats;
    b.packed_queries = b.d_outs + row_floats;
    b.packed_d_outs = b.packed_queries + row_floats;
    b.d_queries = b.packed_d_outs + row_floats;
    b.rows = b.d_queries + row_floats;
    b.p = b.rows + row_floats;
    b.d_s = b.p + kKeys * kRows;
    b.d_s_pairs = kStep == 1 ? b.d_s : b.d_s + kKeys * kRows / 2;

    const int64_t head_offset = segment.key_begin * shape.kv_stride() + kv_head * shape.head_dim;
    pack_rows<Words>(b.keys, k + head_offset, shape.kv_stride(), segment.key_length, shape);
    if (kStep != 1) pack_pairs<Words>(b.key_pairs, k + head_offset, shape.kv_stride(), segment.key_length, shape);
    pack_rows<Words>(b.values, v + head_offset, shape.kv_stride(), segment.key_length, shape);
    std::memset(b.d_keys, 0, sizeof(float) * static_cast<size_t>(2 * key_floats));

    const int64_t num_rows = segment.query_length * shape.group();
    for (int64_t first_row = 0; first_row < num_rows; first_row += kRows) query_block(segment, kv_head, first_row, b);

    for (int64_t key = 0; key < segment.key_length; ++key) {
      const int64_t target = head_offset + key * shape.kv_stride();
      for_vectors(shape.head_dim, [&](int64_t d, auto span) {
        const floats sums = load(b.d_keys + key * shape.padded_dim + d, span);
        store(d_k + target + d, kScalesQueries<Words> ? sums : sums * shape.scale, span);
        store(d_v + target + d, load(b.d_values + key * shape.padded_dim + d, span), span);
      });
    }
  }

 private:
  struct Buffers {
    float *keys, *values;                   // [key_length up to whole tiles, padded_dim / kStep]
    float *key_pairs;                       // [key_length up to whole tiles / kStep, padded_dim]
    float *d_keys, *d_values;               // [key_length up to whole tiles, padded_dim]
    float *queries, *d_outs;                // [kRows / kStep, padded_dim]
    float *packed_queries, *packed_d_outs;  // [head_dim / kStep, kRows]
    float *d_queries;                       // [head_dim, kRows]
    float *rows;                            // [kRows, padded_dim], between one form and another
    float *p, *d_s;                         // [kKeys, kRows / kStep]
    float *d_s_pairs;                       // [kKeys / kStep, kRows]
  };

  /** Query rows in the forms that the two kinds of products over them need: pairs [kRows / kStep, padded_dim], packed [head_dim / kStep, kRows]. */
  void pack(float *pairs, float *packed, const T *base, const Rows &rows, int64_t stride, float factor, const Buffers &b) const {
    if constexpr (kStep == 1) {
      pack_queries<Words>(pairs, packed, base, rows, stride, shape, factor);
    } else {
      pack_queries<Words>(b.rows, packed, base, rows, stride, shape, factor);
      pack_pairs<Words>(pairs, reinterpret_cast<const T *>(b.rows), shape.padded_dim, int64_t{rows.vectors} * kLanes, shape);
    }
  }

  void query_block(const gatun_segment &segment, int64_t kv_head, int64_t first_row, const Buffers &b) const {
    const Rows rows(segment, kv_head, shape, first_row);
    const int64_t out_stride = shape.heads * shape.head_dim;
    pack(b.queries, b.packed_queries, q, rows, shape.q_stride, shape.scale, b);
    pack(b.d_outs, b.packed_d_outs, d_out, rows, out_stride, 1.0f, b);
    std::memset(b.d_queries, 0, sizeof(float) * static_cast<size_t>(kRows * shape.head_dim));

    alignas(64) float row_lse[kRows] = {};
    alignas(64) float row_delta[kRows] = {};
    for (int r = 0; r < rows.count; ++r) {
      const T *values = rows.of(out, r, out_stride, shape);
      const T *gradients = rows.of(d_out, r, out_stride, shape);
      floats delta{};
      for_vectors(shape.head_dim, [&](int64_t d, auto span) { delta = fma(load(values + d, span), load(gradients + d, span), delta); });
      row_delta[r] = sum(delta);
      row_lse[r] = lse[rows.token[r] * shape.heads + rows.head[r]];
    }

    // Pairs of keys lie where their segment's do.
    for (int32_t begin = kStep == 1 ? rows.first_key() : rows.first_key() / kTileKeys * kTileKeys; begin < rows.key_end(); begin += kKeys) {
      key_block(rows, begin, row_lse, row_delta, b);
    }

    transpose(b.rows, shape.padded_dim, b.d_queries, kRows, shape.head_dim, int64_t{rows.vectors} * kLanes);
    for (int r = 0; r < rows.count; ++r) {
      T *target = rows.of(d_q, r, d_q_stride, shape);
      for_vectors(shape.head_dim,
                  [&](int64_t d, auto span) { store(target + d, load(b.rows + r * shape.padded_dim + d, span) * shape.scale, span); });
    }
  }

  void key_block(const Rows &rows, int32_t begin, const float *row_lse, const float *row_delta, const Buffers &b) const {
    const int count = rows.key_end() - begin < kKeys ? rows.key_end() - begin : kKeys;
    const int tiles = (count + kTileKeys - 1) / kTileKeys;
    const int64_t row_words = shape.padded_dim / kStep;
    const float *keys = b.keys + begin * row_words;
    const float *key_pairs = b.key_pairs + begin / kStep * shape.padded_dim;
    const float *values = b.values + begin * row_words;
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
      const int64_t weights = int64_t{tile} * kTileKeys * (kRows / kStep);
      outer<Words>(b.d_values + sums, b.p + weights, b.d_outs, shape.padded_dim, first_row, rows.count);
      outer<Words>(b.d_keys + sums, b.d_s + weights, b.queries, shape.padded_dim, first_row, rows.count);
    }
    for (int tile = 0; tile < tiles;) {
      int next = tile + 1;
      while (next < tiles && first_vector[next] == first_vector[tile]) ++next;
      const int first = tile * kTileKeys;
      const int end = next * kTileKeys < count ? next * kTileKeys : count;
      for_strips(first_vector[tile], rows.vectors, [&](int vector, auto n) {
        constexpr int V = decltype(n)::value;
        accumulate<Words, V>(b.d_queries + vector * kLanes, b.d_s_pairs + first / kStep * kRows + vector * kLanes,
                             key_pairs + first / kStep * shape.padded_dim, shape.padded_dim, (end - first + kStep - 1) / kStep, shape.head_dim,
                             nullptr);
      });
      tile = next;
    }
  }

  /** p and d_s of one tile of keys and V vectors of rows. */
  template <int V>
  GATUN_INLINE void scores(const Rows &rows, int vector, int tile, int32_t key, const float *keys, const float *values, const float *row_lse,
                           const float *row_delta, const Buffers &b) const {
    const int64_t first = int64_t{tile} * kTileKeys;
    const int64_t row_words = shape.padded_dim / kStep;
    floats s[kTileKeys][V];
    dot_tile<Words>(s, keys + first * row_words, row_words, b.packed_queries + vector * kLanes, shape.head_dim / kStep);
    floats p[kTileKeys][V];
    floats slope[kTileKeys][V];  // d (capped score) / d score
    for (int j = 0; j < V; ++j) {
      const bool whole = rows.sees_all(vector + j, key);
      const floats log_sum = load(row_lse + (vector + j) * kLanes, Whole{});
      for (int i = 0; i < kTileKeys; ++i) {
        floats score = s[i][j];
        if (!kScalesQueries<Words>) score *= shape.scale;
        if (shape.softcap > 0) {
          const floats t = tanh(score / shape.softcap);
          slope[i][j] = 1.0f - t * t;
          score = shape.softcap * t;
        }
        p[i][j] = exp(score - log_sum);
        if (!whole) p[i][j] = rows.visible(vector + j, key + i) ? p[i][j] : floats{};
        Words::store_row(b.p + (first + i) * (kRows / kStep) + (vector + j) * (kLanes / kStep), p[i][j]);
      }
    }
    floats d_p[kTileKeys][V];
    dot_tile<Words>(d_p, values + first * row_words, row_words, b.packed_d_outs + vector * kLanes, shape.head_dim / kStep);
    for (int j = 0; j < V; ++j) {
      const floats delta = load(row_delta + (vector + j) * kLanes, Whole{});
      for (int i = 0; i < kTileKeys; i += kStep) {
        floats d_s[kStep];
        for (int l = 0; l < kStep; ++l) {
          d_s[l] = p[i + l][j] * (d_p[i + l][j] - delta);
          if (shape.softcap > 0) d_s[l] *= slope[i + l][j];
          Words::store_row(b.d_s + (first + i + l) * (kRows / kStep) + (vector + j) * (kLanes / kStep), d_s[l]);
        }
        if (kStep != 1) Words::store_pairs(b.d_s_pairs + (first + i) / kStep * kRows + (vector + j) * kLanes, d_s);
      }
    }
  }
};

}  // namespace

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
