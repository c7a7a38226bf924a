/*
 * attention_forward: out = softmax(bend(scale q k^T)) v per segment and head, lse = log sum exp of the scores; bend is the soft-cap.
 *
 * The query heads that share a key head are rows of one matrix: row = position * group + head, group = heads / kv_heads, so their keys and
 * values are read once and the causal diagonal of a block stays narrow. A block is kRows such rows against kKeys keys. Scores are kept
 * transposed, [keys, rows] with rows in the lanes of a vector: maxima and sums over keys need no step across lanes, the queries are packed once
 * per block as [head_dim, rows], and keys and values are read in the order in which they lie. What the causal band or the window hides is
 * skipped by whole key ranges and by whole vectors of rows, and masked lane by lane only on the edge. Maximum and sum are running ones (Milakov
 * and Gimelshein 2018; FlashAttention, Dao et al. 2022).
 *
 * bf16 with VDPBF16PS   products of bf16 pairs, summed in f32: those of q and k are exact; a probability, at most 1 before the division by the
 *                       sum, is rounded to bf16 for p v, and counts in the sum and in lse as it was before. bf16 denormals count as zero.
 * otherwise             products of f32.
 *
 * FLOPs: 4 head_dim per pair of query head and key seen. Traffic: q and out once, k and v once per block of rows (mostly from the second-level
 * cache), lse.
 * One task per (segment, key head, block of rows), the longest of a head first. Deterministic, whatever the number of threads.
 */
#include <cfloat>
#include <cmath>

#include "attention_block.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class T>
struct Forward {
  T *out;
  float *lse;
  const T *q, *k, *v;
  Shape shape;

  using Words = WordsOf<T>;

  /** Floats of scratch that a task needs. */
  int64_t scratch_floats() const { return 2 * kRows * shape.padded_dim + kRows * shape.head_dim + kKeys * kRows + 2 * kKeys * shape.padded_dim; }

  void run(const gatun_segment &segment, int64_t kv_head, int64_t first_row, float *scratch) const {
    const Rows rows(segment, kv_head, shape, first_row);
    float *packed = scratch;
    float *queries = packed + kRows * shape.padded_dim;
    float *sums = queries + kRows * shape.padded_dim;
    float *scores = sums + kRows * shape.head_dim;
    float *keys = scores + kKeys * kRows;
    float *values = keys + kKeys * shape.padded_dim;
    const T *k_head = k + segment.key_begin * shape.kv_stride() + kv_head * shape.head_dim;
    const T *v_head = v + segment.key_begin * shape.kv_stride() + kv_head * shape.head_dim;

    pack_queries<Words>(packed, queries, q, rows, shape.q_stride, shape, shape.scale);
    std::memset(sums, 0, sizeof(float) * static_cast<size_t>(kRows * shape.head_dim));
    floats maximum[kVectors], total[kVectors];
    for (int i = 0; i < kVectors; ++i) {
      maximum[i] = splat(-FLT_MAX);  // not -inf: a row that has seen no key yet must not give inf - inf
      total[i] = floats{};
    }

    for (int32_t begin = rows.first_key(); begin < rows.key_end(); begin += kKeys) {
      const int count = rows.key_end() - begin < kKeys ? rows.key_end() - begin : kKeys;
      pack_rows<Words>(keys, k_head + begin * shape.kv_stride(), shape.kv_stride(), count, shape);
      pack_pairs<Words>(values, v_head + begin * shape.kv_stride(), shape.kv_stride(), count, shape);
      block(rows, begin, count, queries, keys, values, scores, sums, maximum, total);
    }
    write(rows, packed, sums, maximum, total);
  }

 private:
  void block(const Rows &rows, int32_t begin, int count, const float *queries, const float *keys, const float *values, float *scores, float *sums,
             floats *maximum, floats *total) const {
    const int tiles = (count + kTileKeys - 1) / kTileKeys;
    const int64_t row_words = shape.padded_dim / Words::kStep;
    floats highest[kVectors];
    for (int i = 0; i < kVectors; ++i) highest[i] = maximum[i];
    int first_vector[kTiles];
    for (int tile = 0; tile < tiles; ++tile) {
      const int32_t key = begin + tile * kTileKeys;
      first_vector[tile] = rows.first_vector(key);
      for_strips(first_vector[tile], rows.vectors, [&](int vector, auto n) {
        constexpr int V = decltype(n)::value;
        floats s[kTileKeys][V];
        dot_tile<Words>(s, keys + tile * kTileKeys * row_words, row_words, queries + vector * kLanes, shape.head_dim / Words::kStep);
        for (int j = 0; j < V; ++j) {
          const bool whole = rows.sees_all(vector + j, key);
          for (int i = 0; i < kTileKeys; ++i) {
            floats score = s[i][j];
            if (!kScalesQueries<Words>) score *= shape.scale;
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
      // A last key beyond `count` is hidden, and its value zero. Words replace scores that have been read.
      for (int i = 0; i < end; i += Words::kStep) {
        floats p[Words::kStep];
        for (int j = 0; j < Words::kStep; ++j) {
          p[j] = exp(load(scores + (i + j) * kRows + vector * kLanes, Whole{}) - maximum[vector]);
          sum += p[j];
        }
        Words::store_pairs(scores + i / Words::kStep * kRows + vector * kLanes, p);
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
        accumulate<Words, V>(sums + vector * kLanes, scores + first / Words::kStep * kRows + vector * kLanes,
                             values + first / Words::kStep * shape.padded_dim, shape.padded_dim, (end - first + Words::kStep - 1) / Words::kStep,
                             shape.head_dim, tile == 0 ? factor + vector : nullptr);
      });
      tile = next;
    }
  }

  void write(const Rows &rows, float *packed, float *sums, const floats *maximum, const floats *total) const {
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
      T *target = rows.of(out, r, shape.heads * shape.head_dim, shape);
      for_vectors(shape.head_dim, [&](int64_t d, auto span) { store(target + d, load(packed + r * shape.padded_dim + d, span), span); });
      if (lse != nullptr) lse[rows.token[r] * shape.heads + rows.head[r]] = highest[r] + std::log(sum[r]);
    }
  }
};

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

}  // namespace gatun::GATUN_ISA
