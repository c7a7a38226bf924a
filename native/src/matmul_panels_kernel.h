/*
 * matmul_panels_kernel.h: the code behind struct Panels, for an element type and an instruction set.
 *
 * B's columns are packed as panels [words, kPanelColumns], A's rows as panels [words, kPanelRows], so that the inner loop reads both in order
 * whatever their layout (Goto and van de Geijn 2008). words.h says what a word is. The inner loop keeps
 * kPanelRows x kPanelVectors sums in registers. An element of C is the sum of its blocks of k in order, each summed in order from
 * zero: it does not depend on the tile, nor on the thread.
 */
#ifndef GATUN_MATMUL_PANELS_KERNEL_H
#define GATUN_MATMUL_PANELS_KERNEL_H

#include "guard.h"
#include "matmul_panels.h"
#include "transpose.h"
#include "words.h"

namespace gatun::GATUN_ISA {
namespace {

/* Registers hold the sums, a row of a panel of B and one broadcast. */
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kPanelRows = 8;
#else
constexpr int kPanelRows = 4;
#endif
constexpr int kPanelVectors = 3;
constexpr int kPanelColumns = kPanelVectors * kLanes;
constexpr int64_t kWords = 384;
/* A block of A stays in the second-level cache while the panels of B pass; a wide block of B spares packing A again. */
constexpr int64_t kBlockRows = 192;
constexpr int64_t kBlockColumns = 1440;
static_assert(kBlockRows % kPanelRows == 0 && kBlockColumns % kPanelColumns == 0);

/* A pack holds `count` rows of op(A), or columns of op(B), as panels [words, Width] one after the other, the last one filled up with zeros. */

/** From src [depth, count]. */
template <class Words, int Width>
void pack_rows(float *dst, const typename Words::T *src, int64_t stride, int64_t depth, int64_t count) {
  const int64_t words = (depth + Words::kStep - 1) / Words::kStep;
  // Panels that lie a multiple of 4 KiB apart share lines of the first-level cache: each gets several words at a time.
  constexpr int64_t kWordsAtATime = 8;
  for (int64_t first = 0; first < words; first += kWordsAtATime) {
    const int64_t end = words - first < kWordsAtATime ? words : first + kWordsAtATime;
    for (int64_t i = 0; i < count; i += Width) {
      const int64_t columns = count - i < Width ? count - i : Width;
      float *panel = dst + i * words;
      for (int64_t l = first; l < end; ++l) {
        const bool pair = (l + 1) * Words::kStep <= depth;
        const typename Words::T *row = src + l * Words::kStep * stride + i;
        if (columns == Width && pair) {
          Words::template pack_words<Width>(panel + l * Width, row, stride);
        } else {
          for (int64_t j = 0; j < Width; ++j) panel[l * Width + j] = j < columns ? Words::word(row + j, stride, pair) : 0.0f;
        }
      }
    }
  }
}

/** From src [count, depth]. */
template <class Words, int Width>
void pack_columns(float *dst, const typename Words::T *src, int64_t stride, int64_t depth, int64_t count) {
  using T = typename Words::T;
  const int64_t words = (depth + Words::kStep - 1) / Words::kStep;
  const int64_t whole_words = depth / Words::kStep;
  const bool aligned = stride % Words::kStep == 0;
  for (int64_t i = 0; i < count; i += Width) {
    const int64_t rows = count - i < Width ? count - i : Width;
    float *panel = dst + i * words;
    const T *source = src + i * stride;
    if (aligned) {
      // Words are moved as floats, bit for bit.
      transpose(panel, Width, reinterpret_cast<const float *>(source), stride / Words::kStep, rows, whole_words);
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t l = 0; l < whole_words; ++l) std::memcpy(panel + l * Width + r, source + r * stride + l * Words::kStep, sizeof(float));
      }
    }
    if (whole_words < words) {
      for (int64_t r = 0; r < rows; ++r) {
        panel[whole_words * Width + r] = 0.0f;
        std::memcpy(panel + whole_words * Width + r, source + r * stride + whole_words * Words::kStep, sizeof(T));
      }
    }
    if (rows == Width) continue;
    for (int64_t l = 0; l < words; ++l) {
      for (int64_t r = rows; r < Width; ++r) panel[l * Width + r] = 0.0f;
    }
  }
}

/** Where a tile's sums go: sum + addend + bias, addend [rows, stride] and bias [columns] or NULL. */
template <class Element, class Addend, class Bias>
struct Target {
  Element *c;
  int64_t stride;
  const Addend *addend;
  int64_t addend_stride;
  const Bias *bias;

  template <class Span>
  GATUN_INLINE void put(floats sum, int64_t row, int64_t column, Span span) const {
    if (addend != nullptr) sum += load(addend + row * addend_stride + column, span);
    if (bias != nullptr) sum += load(bias + column, span);
    store(c + row * stride + column, sum, span);
  }
  Target at(int64_t row, int64_t column) const {
    return {c + row * stride + column, stride, addend == nullptr ? nullptr : addend + row * addend_stride + column, addend_stride,
            bias == nullptr ? nullptr : bias + column};
  }
};

/**
 * kPanelRows x V vectors of C = panel of A [words, kPanelRows]^T * panel of B [words, kPanelColumns].
 * A function of its own, so that the compiler has all registers for the sums.
 */
template <class Words, int V, class To>
[[gnu::noinline]] void multiply_panels(const To &to, const float *a, const float *b, int64_t words) {
  for (int r = 0; r < kPanelRows; ++r) {
    for (int v = 0; v < V; ++v) __builtin_prefetch(to.c + r * to.stride + v * kLanes, 1);
  }
  floats sum[kPanelRows][V] = {};
  for (int64_t l = 0; l < words; ++l) {
    floats row[V];
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
      __builtin_prefetch(b + (l + 8) * kPanelColumns + v * kLanes);
      row[v] = load(b + l * kPanelColumns + v * kLanes, Whole{});
    }
#pragma GCC unroll 8
    for (int r = 0; r < kPanelRows; ++r) {
      const float word = a[l * kPanelRows + r];
#pragma GCC unroll 3
      for (int v = 0; v < V; ++v) sum[r][v] = Words::multiply_add(word, row[v], sum[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kPanelRows; ++r) {
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) to.put(sum[r][v], r, v * kLanes, Whole{});
  }
}

/** The same for the first `rows` rows and `columns` columns only. */
template <class Words, class To>
[[gnu::noinline]] void multiply_edge(const To &to, const float *a, const float *b, int64_t words, int64_t rows, int64_t columns) {
  alignas(64) float sums[kPanelRows * kPanelColumns];
  const Target<float, float, float> whole{sums, kPanelColumns, nullptr, 0, nullptr};
  if (columns <= kLanes) {
    multiply_panels<Words, 1>(whole, a, b, words);
  } else if (columns <= 2 * kLanes) {
    multiply_panels<Words, 2>(whole, a, b, words);
  } else {
    multiply_panels<Words, 3>(whole, a, b, words);
  }
  for (int64_t r = 0; r < rows; ++r) {
    for_vectors(columns, [&](int64_t j, auto span) { to.put(load(sums + r * kPanelColumns + j, span), r, j, span); });
  }
}

/** A packed block of rows of A times the panels of B for columns [0, columns). */
template <class Words, class To>
void multiply_block(const To &to, const float *a, const float *b, int64_t words, int64_t rows, int64_t columns) {
  for (int64_t j = 0; j < columns; j += kPanelColumns) {
    for (int64_t i = 0; i < rows; i += kPanelRows) {
      const To target = to.at(i, j);
      if (rows - i >= kPanelRows && columns - j >= kPanelColumns) {
        multiply_panels<Words, kPanelVectors>(target, a + i * words, b + j * words, words);
      } else {
        multiply_edge<Words>(target, a + i * words, b + j * words, words, rows - i < kPanelRows ? rows - i : kPanelRows,
                             columns - j < kPanelColumns ? columns - j : kPanelColumns);
      }
    }
  }
}

template <class Words>
void pack_b(float *dst, const PanelProduct &p, int64_t begin, int64_t depth, int64_t column, int64_t columns) {
  const auto *b = static_cast<const typename Words::T *>(p.b);
  if (p.transpose_b) {
    pack_columns<Words, kPanelColumns>(dst, b + column * p.ldb + begin, p.ldb, depth, columns);
  } else {
    pack_rows<Words, kPanelColumns>(dst, b + begin * p.ldb + column, p.ldb, depth, columns);
  }
}

template <class Words>
void run(const PanelProduct &p, const PanelBlock &block, int64_t row, int64_t rows, int64_t column, int64_t columns, float *a_block) {
  using T = typename Words::T;
  const int64_t words = (block.depth + Words::kStep - 1) / Words::kStep;
  const auto *a = static_cast<const T *>(p.a);
  if (p.transpose_a) {
    pack_rows<Words, kPanelRows>(a_block, a + block.begin * p.lda + row, p.lda, block.depth, rows);
  } else {
    pack_columns<Words, kPanelRows>(a_block, a + row * p.lda + block.begin, p.lda, block.depth, rows);
  }
  const bool first = block.begin == 0;
  const bool last = block.begin + block.depth == p.k;
  const T *bias = last && p.bias != nullptr ? static_cast<const T *>(p.bias) + column : nullptr;
  const float *b = block.b + (column - block.column) * words;
  const auto multiply = [&](const auto &to) { multiply_block<Words>(to, a_block, b, words, rows, columns); };
  if (p.f32_c) {
    float *c = static_cast<float *>(p.c) + row * p.ldc + column;
    multiply(Target<float, float, T>{c, p.ldc, p.accumulate || !first ? c : nullptr, p.ldc, bias});
    return;
  }
  if constexpr (Words::kStep == 2) {
    T *c = static_cast<T *>(p.c) + row * p.ldc + column;
    float *partial = block.partial == nullptr ? nullptr : block.partial + row * block.partial_stride + column - block.column;
    if (first && last) {
      multiply(Target<T, T, T>{c, p.ldc, p.accumulate ? c : nullptr, p.ldc, bias});
    } else if (!last) {
      // The old C is the first of the addends, so that C is rounded once.
      if (first && p.accumulate) {
        multiply(Target<float, T, T>{partial, block.partial_stride, c, p.ldc, nullptr});
      } else {
        multiply(Target<float, float, T>{partial, block.partial_stride, first ? nullptr : partial, block.partial_stride, nullptr});
      }
    } else {
      multiply(Target<T, float, T>{c, p.ldc, partial, block.partial_stride, bias});
    }
  }
}

template <class Words>
constexpr Panels panels_of() {
  return {.rows = kPanelRows,
          .columns = kPanelColumns,
          .depth = kWords * Words::kStep,
          .step = Words::kStep,
          .block_rows = kBlockRows,
          .block_columns = kBlockColumns,
          .pack_b = pack_b<Words>,
          .run = run<Words>};
}

}  // namespace
}  // namespace gatun::GATUN_ISA

#endif
