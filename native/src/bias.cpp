/*
 * bias: d_bias[c] += sum over rows of d_y[r, c].
 * Threads take chunks of rows, whose number depends on the shape alone; the chunks' sums are added in their order. Deterministic.
 * Traffic: one read per element.
 */
#include <cstring>

#include "guard.h"
#include "parallel.h"
#include "partial_sums.h"
#include "rows.h"

namespace gatun::GATUN_ISA {

int32_t bias_backward(float *d_bias, const void *d_y, int64_t rows, int64_t columns, int64_t d_y_stride, int32_t dtype, void *workspace, void *) {
  return guarded("bias_backward", [&] {
    check_extent("rows", rows);
    check_positive("columns", columns);
    check_stride("d_y_stride", d_y_stride, columns);
    with_dtype(dtype, [&]<class T>(T) {
      if (rows == 0) return;
      check_pointer("d_bias", d_bias);
      check_pointer("d_y", d_y);
      check_pointer("workspace", workspace);
      const Chunks chunks = Chunks::of(rows, columns);
      float *partial_sums = static_cast<float *>(workspace);
      parallel_for(chunks.count, rows * columns * int64_t{sizeof(T)}, [&](int64_t chunk) {
        float *sums = partial_sums + chunk * columns;
        std::memset(sums, 0, columns * sizeof(float));
        for (int64_t r = chunks.begin(chunk); r < chunks.end(chunk, rows); ++r) {
          const T *row = static_cast<const T *>(d_y) + r * d_y_stride;
          for_vectors(columns, [&](int64_t i, auto span) { store(sums + i, load(sums + i, span) + load(row + i, span), span); });
        }
      });
      add_partial_sums(d_bias, partial_sums, chunks, columns);
    });
  });
}

}  // namespace gatun::GATUN_ISA
