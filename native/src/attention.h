/* attention.h: what a call of attention is, how it is checked, and how its tasks share the threads. */
#ifndef GATUN_ATTENTION_H
#define GATUN_ATTENTION_H

#include <new>

#include "guard.h"
#include "scratch.h"
#include "simd.h"
#include "threads.h"

namespace gatun::GATUN_ISA {
namespace {

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

inline void check_attention(const gatun_segment *segments, const gatun_segment *host_segments, int64_t num_segments, const Shape &shape,
                            int64_t q_stride) {
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

inline Shape shape_of(int64_t heads, int64_t kv_heads, int64_t head_dim, int64_t q_stride, float scale, float softcap, int64_t window) {
  return {heads, kv_heads, head_dim, (head_dim + kLanes - 1) / kLanes * kLanes, q_stride, scale, softcap, window};
}

/** Scores that a segment computes for one query head, about. */
inline int64_t visible_scores(const gatun_segment &s, int64_t window) {
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
}  // namespace gatun::GATUN_ISA

#endif
