/*
 * parallel.h: work shared by the threads of the library's one pool.
 *
 * A parallel region uses the whole pool or none of it: libgomp ends threads that a smaller team leaves over and starts them again
 * for the next larger one. Which thread runs what never changes a result: an index is run once, and sums across indices are
 * combined afterwards in the order of the indices, whose number depends on shapes alone.
 */
#ifndef GATUN_PARALLEL_H
#define GATUN_PARALLEL_H

#include <cstdint>

#include "threads.h"

namespace gatun::GATUN_ISA {

/** Below this many bytes of traffic one thread is done before the others are awake. */
constexpr int64_t kParallelBytes = 128 * 1024;

/** One machine code of a body for the serial loop and the parallel one, so that both round alike. */
template <class Body>
[[gnu::noinline]] void run_index(const Body &body, int64_t i) {
  body(i);
}

/** Calls body(i) once for every i in [0, count). `bytes`: memory traffic of all calls (or equally long arithmetic). body does not throw. */
template <class Body>
void parallel_for(int64_t count, int64_t bytes, const Body &body) {
  const int threads = pool_threads();
  if (threads == 1 || count <= 1 || bytes < kParallelBytes) {
    for (int64_t i = 0; i < count; ++i) run_index(body, i);
    return;
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < count; ++i) run_index(body, i);
}

/** Calls body(begin, end) for consecutive ranges that cover [0, count), for work in which every element stands alone. */
template <class Body>
void parallel_ranges(int64_t count, int64_t bytes_per_element, const Body &body) {
  constexpr int64_t kRange = 8192;
  const int64_t ranges = (count + kRange - 1) / kRange;
  parallel_for(ranges, count * bytes_per_element, [&](int64_t range) {
    const int64_t begin = range * kRange;
    body(begin, count - begin < kRange ? count : begin + kRange);
  });
}

/** Rows cut into consecutive chunks by shape alone, each with its own partial sums of `columns` floats. */
struct Chunks {
  int64_t count;
  int64_t rows_each;

  static constexpr int64_t kMostPartialFloats = int64_t{1} << 20;

  static Chunks of(int64_t rows, int64_t columns) {
    int64_t most = kMostPartialFloats / columns;
    most = most < 1 ? 1 : most > 64 ? 64 : most;
    int64_t rows_each = (rows + most - 1) / most;
    if (rows_each < 16) rows_each = 16;
    return {(rows + rows_each - 1) / rows_each, rows_each};
  }
  /** Floats that suffice for the partial sums of any number of rows of at most `columns` columns. */
  static int64_t floats_needed(int64_t columns) {
    return columns > kMostPartialFloats ? columns : kMostPartialFloats < 64 * columns ? kMostPartialFloats : 64 * columns;
  }
  int64_t begin(int64_t chunk) const { return chunk * rows_each; }
  int64_t end(int64_t chunk, int64_t rows) const {
    const int64_t end = (chunk + 1) * rows_each;
    return end < rows ? end : rows;
  }
};

}  // namespace gatun::GATUN_ISA

#endif
