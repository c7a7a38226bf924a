/* transpose.h: turning rows of floats into columns. */
#ifndef GATUN_TRANSPOSE_H
#define GATUN_TRANSPOSE_H

#include "simd.h"

namespace gatun::GATUN_ISA {

typedef float quad __attribute__((vector_size(16)));
typedef float octet __attribute__((vector_size(32)));
typedef int32_t octet_index __attribute__((vector_size(32)));

/** dst[c][0..8) = src[0..8)[c] for c < 4: two 4 x 4 blocks side by side, one in each half of a vector. */
GATUN_INLINE void transpose_8_by_4(float *dst, int64_t dst_stride, const float *src, int64_t src_stride) {
  octet row[4];
  for (int i = 0; i < 4; ++i) {
    quad upper, lower;
    std::memcpy(&upper, src + i * src_stride, sizeof(quad));
    std::memcpy(&lower, src + (i + 4) * src_stride, sizeof(quad));
    row[i] = __builtin_shufflevector(upper, lower, 0, 1, 2, 3, 4, 5, 6, 7);
  }
  const octet low01 = __builtin_shuffle(row[0], row[1], octet_index{0, 8, 1, 9, 4, 12, 5, 13});
  const octet low23 = __builtin_shuffle(row[2], row[3], octet_index{0, 8, 1, 9, 4, 12, 5, 13});
  const octet high01 = __builtin_shuffle(row[0], row[1], octet_index{2, 10, 3, 11, 6, 14, 7, 15});
  const octet high23 = __builtin_shuffle(row[2], row[3], octet_index{2, 10, 3, 11, 6, 14, 7, 15});
  const octet column[4] = {__builtin_shuffle(low01, low23, octet_index{0, 1, 8, 9, 4, 5, 12, 13}),
                           __builtin_shuffle(low01, low23, octet_index{2, 3, 10, 11, 6, 7, 14, 15}),
                           __builtin_shuffle(high01, high23, octet_index{0, 1, 8, 9, 4, 5, 12, 13}),
                           __builtin_shuffle(high01, high23, octet_index{2, 3, 10, 11, 6, 7, 14, 15})};
  for (int i = 0; i < 4; ++i) std::memcpy(dst + i * dst_stride, &column[i], sizeof(octet));
}

/** dst[c][r] = src[r][c]. */
GATUN_INLINE void transpose(float *dst, int64_t dst_stride, const float *src, int64_t src_stride, int64_t rows, int64_t columns) {
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) {
    int64_t c = 0;
    for (; c + 4 <= columns; c += 4) transpose_8_by_4(dst + c * dst_stride + r, dst_stride, src + r * src_stride + c, src_stride);
    for (; c < columns; ++c) {
      for (int64_t i = r; i < r + 8; ++i) dst[c * dst_stride + i] = src[i * src_stride + c];
    }
  }
  for (; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) dst[c * dst_stride + r] = src[r * src_stride + c];
  }
}

}  // namespace gatun::GATUN_ISA

#endif
