/* matmul_f32.h: one tile of an f32 product, compiled per instruction set. */
#ifndef GATUN_MATMUL_F32_H
#define GATUN_MATMUL_F32_H

#include <cstdint>

namespace gatun {

/** C[m, n] = op(A)[m, k] op(B)[k, n] + bias[n] + (accumulate ? C : 0), as gatun_cpu_matmul. bias [opt]. */
struct F32Product {
  float *c;
  const float *a, *b, *bias;
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b, accumulate;
};

/** What an instruction set offers for f32 products. */
struct F32Tiles {
  /** Widest tile, and what the columns of a tile are best a multiple of. */
  int64_t max_columns, column_step;
  /** Rows of a tile are best a multiple of this. */
  int64_t row_step;
  /** Bytes of scratch that run() needs. */
  int64_t scratch_bytes;
  /**
   * Computes C[row, +rows][column, +columns], columns <= max_columns. Every element is summed in the same order wherever the tile's edges are.
   */
  void (*run)(const F32Product &product, int64_t row, int64_t rows, int64_t column, int64_t columns, void *scratch);
};

}  // namespace gatun

#endif
