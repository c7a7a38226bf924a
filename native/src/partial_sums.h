/* partial_sums.h: the second half of every parameter gradient that is summed in chunks of rows. */
#ifndef GATUN_PARTIAL_SUMS_H
#define GATUN_PARTIAL_SUMS_H

#include "parallel.h"
#include "simd.h"

namespace gatun::GATUN_ISA {

/** d[c] += sum over chunks of partial_sums[chunk, c], in the order of the chunks. Threads take columns. */
inline void add_partial_sums(float *d, const float *partial_sums, Chunks chunks, int64_t columns) {
  constexpr int64_t kColumns = 256;
  parallel_for((columns + kColumns - 1) / kColumns, chunks.count * columns * 4, [&](int64_t slice) {
    const int64_t begin = slice * kColumns;
    const int64_t width = columns - begin < kColumns ? columns - begin : kColumns;
    for_vectors(width, [&](int64_t i, auto span) {
      floats total = load(partial_sums + begin + i, span);
      for (int64_t chunk = 1; chunk < chunks.count; ++chunk) total += load(partial_sums + chunk * columns + begin + i, span);
      store(d + begin + i, load(d + begin + i, span) + total, span);
    });
  });
}

}  // namespace gatun::GATUN_ISA

#endif
