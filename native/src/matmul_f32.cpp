/*
 * matmul_f32: a tile of C = op(A) op(B) + bias + beta C in f32, by one thread.
 *
 * Blocks of kDepth of k: B's columns are packed as panels [depth, kPanelColumns], A's rows as panels [depth, kPanelRows], so that the inner
 * loop reads both in order whatever their layout (Goto and van de Geijn 2008). The inner loop keeps kPanelRows x kPanelVectors sums in
 * registers. An element of C is the sum of its blocks of k in order, each summed in order from zero: it does not depend on the tile.
 */
#include "matmul_f32.h"

#include "guard.h"
#include "transpose.h"

namespace gatun::GATUN_ISA {

extern const F32Tiles f32_tiles;

namespace {

/* Registers hold the sums, a row of a panel of B and one broadcast. */
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kPanelRows = 8;
#else
constexpr int kPanelRows = 4;
#endif
constexpr int kPanelVectors = 3;
constexpr int kPanelColumns = kPanelVectors * kLanes;
constexpr int64_t kDepth = 384;
/* A block of A stays in the second-level cache while the panels of B pass; a wide block of B spares packing A again. */
constexpr int64_t kBlockRows = 192;
constexpr int64_t kBlockColumns = 1440;
static_assert(kBlockRows % kPanelRows == 0 && kBlockColumns % kPanelColumns == 0);

/* A pack holds `count` rows of op(A), or columns of op(B), as panels [depth, Width] one after the other, the last one filled up with zeros. */

/** From src [depth, count]. */
template <int Width>
void pack_rows(float *dst, const float *src, int64_t stride, int64_t depth, int64_t count) {
  const int64_t whole = count / Width * Width;
  for (int64_t l = 0; l < depth; ++l) {
    for (int64_t i = 0; i < whole; i += Width) std::memcpy(dst + i * depth + l * Width, src + l * stride + i, sizeof(float) * Width);
    if (whole == count) continue;
    for (int64_t i = 0; i < Width; ++i) dst[whole * depth + l * Width + i] = whole + i < count ? src[l * stride + whole + i] : 0.0f;
  }
}

/** From src [count, depth]. */
template <int Width>
void pack_columns(float *dst, const float *src, int64_t stride, int64_t depth, int64_t count) {
  const int64_t whole = count / Width * Width;
  for (int64_t i = 0; i < whole; i += Width) transpose(dst + i * depth, Width, src + i * stride, stride, Width, depth);
  if (whole == count) return;
  transpose(dst + whole * depth, Width, src + whole * stride, stride, count - whole, depth);
  for (int64_t l = 0; l < depth; ++l) {
    for (int64_t i = count - whole; i < Width; ++i) dst[whole * depth + l * Width + i] = 0.0f;
  }
}

/**
 * c[kPanelRows, kPanelColumns] = panel of A [depth, kPanelRows]^T * panel of B [depth, kPanelColumns] + (add ? c : 0) + bias.
 * A function of its own, so that the compiler has all registers for the sums.
 */
[[gnu::noinline]] void multiply_panels(float *c, int64_t stride, const float *a, const float *b, int64_t depth, bool add, const float *bias) {
  for (int r = 0; r < kPanelRows; ++r) {
    for (int v = 0; v < kPanelVectors; ++v) __builtin_prefetch(c + r * stride + v * kLanes, 1);
  }
  floats sum[kPanelRows][kPanelVectors] = {};
  for (int64_t l = 0; l < depth; ++l) {
    floats row[kPanelVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) {
      __builtin_prefetch(b + (l + 8) * kPanelColumns + v * kLanes);
      row[v] = load(b + l * kPanelColumns + v * kLanes, Whole{});
    }
#pragma GCC unroll 8
    for (int r = 0; r < kPanelRows; ++r) {
      const floats element = splat(a[l * kPanelRows + r]);
#pragma GCC unroll 3
      for (int v = 0; v < kPanelVectors; ++v) sum[r][v] = fma(element, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kPanelRows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < kPanelVectors; ++v) {
      float *target = c + r * stride + v * kLanes;
      floats value = sum[r][v];
      if (add) value += load(target, Whole{});
      if (bias != nullptr) value += load(bias + v * kLanes, Whole{});
      store(target, value, Whole{});
    }
  }
}

/** The same for the first `rows` rows and `columns` columns only. */
[[gnu::noinline]] void multiply_edge(float *c, int64_t stride, const float *a, const float *b, int64_t depth, bool add, const float *bias,
                                     int64_t rows, int64_t columns) {
  alignas(64) float sum[kPanelRows * kPanelColumns];
  multiply_panels(sum, kPanelColumns, a, b, depth, false, nullptr);
  for (int64_t r = 0; r < rows; ++r) {
    for_vectors(columns, [&](int64_t j, auto span) {
      float *target = c + r * stride + j;
      floats value = load(sum + r * kPanelColumns + j, span);
      if (add) value += load(target, span);
      if (bias != nullptr) value += load(bias + j, span);
      store(target, value, span);
    });
  }
}

void run(const F32Product &p, int64_t row, int64_t rows, int64_t column, int64_t columns, void *scratch) {
  float *a_block = static_cast<float *>(scratch);
  float *b_block = a_block + kBlockRows * kDepth;
  for (int64_t begin = 0; begin < p.k; begin += kDepth) {
    const int64_t depth = p.k - begin < kDepth ? p.k - begin : kDepth;
    const bool add = p.accumulate || begin > 0;
    const bool last = begin + depth == p.k;
    if (p.transpose_b) {
      pack_columns<kPanelColumns>(b_block, p.b + column * p.ldb + begin, p.ldb, depth, columns);
    } else {
      pack_rows<kPanelColumns>(b_block, p.b + begin * p.ldb + column, p.ldb, depth, columns);
    }
    for (int64_t block = 0; block < rows; block += kBlockRows) {
      const int64_t block_rows = rows - block < kBlockRows ? rows - block : kBlockRows;
      const int64_t first = row + block;
      if (p.transpose_a) {
        pack_rows<kPanelRows>(a_block, p.a + begin * p.lda + first, p.lda, depth, block_rows);
      } else {
        pack_columns<kPanelRows>(a_block, p.a + first * p.lda + begin, p.lda, depth, block_rows);
      }
      for (int64_t j = 0; j < columns; j += kPanelColumns) {
        for (int64_t i = 0; i < block_rows; i += kPanelRows) {
          float *c = p.c + (first + i) * p.ldc + column + j;
          const float *bias = last && p.bias != nullptr ? p.bias + column + j : nullptr;
          const float *a = a_block + i * depth;
          const float *b = b_block + j * depth;
          if (block_rows - i >= kPanelRows && columns - j >= kPanelColumns) {
            multiply_panels(c, p.ldc, a, b, depth, add, bias);
          } else {
            const int64_t edge_rows = block_rows - i < kPanelRows ? block_rows - i : kPanelRows;
            const int64_t edge_columns = columns - j < kPanelColumns ? columns - j : kPanelColumns;
            multiply_edge(c, p.ldc, a, b, depth, add, bias, edge_rows, edge_columns);
          }
        }
      }
    }
  }
}

}  // namespace

const F32Tiles f32_tiles = {.max_columns = kBlockColumns,
                            .column_step = kPanelColumns,
                            .row_step = kPanelRows,
                            .scratch_bytes = static_cast<int64_t>(sizeof(float)) * kDepth * (kBlockRows + kBlockColumns),
                            .run = run};

}  // namespace gatun::GATUN_ISA
