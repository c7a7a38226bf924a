/* matmul_panels.h: a block of a product by packed panels, compiled per instruction set. */
#ifndef GATUN_MATMUL_PANELS_H
#define GATUN_MATMUL_PANELS_H

#include <cstdint>

namespace gatun {

/** C[m, n] = op(A)[m, k] op(B)[k, n] + bias[n] + (accumulate ? C : 0), as gatun_cpu_matmul. bias [opt], of the type of A. */
struct PanelProduct {
  void *c;
  const void *a, *b, *bias;
  int64_t m, n, k;
  int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b, accumulate;
  bool f32_c;
};

/** Rows [begin, +depth) of op(B) and columns [column, +columns) of it, packed. */
struct PanelBlock {
  int64_t begin, depth;
  int64_t column, columns;
  const float *b;
  /** [m, partial_stride] f32 sums of earlier blocks of k; NULL: in C. */
  float *partial;
  int64_t partial_stride;
};

/** What an instruction set offers for products of one type. */
struct Panels {
  /** Rows of a panel of A, columns of a panel of B. */
  int64_t rows, columns;
  /** Elements of k in a block, and those that share 4 bytes of a panel. */
  int64_t depth, step;
  /** Rows of A and columns of B that are best packed at a time, at most. */
  int64_t block_rows, block_columns;
  /** dst = the panel of op(B)[begin, +depth)[column, +columns), columns <= this->columns, filled up with zeros. */
  void (*pack_b)(float *dst, const PanelProduct &product, int64_t begin, int64_t depth, int64_t column, int64_t columns);
  /**
   * Adds the block's share to C[row, +rows][column, +columns), rows <= block_rows, where `column` is a multiple of this->columns away from the
   * block's. Every element is summed in the same order wherever the tile's edges are. `a`: scratch, block_rows panels' rows of A.
   */
  void (*run)(const PanelProduct &product, const PanelBlock &block, int64_t row, int64_t rows, int64_t column, int64_t columns, float *a);

  int64_t words(int64_t depth_of_block) const { return (depth_of_block + step - 1) / step; }
};

}  // namespace gatun

#endif
