/*
 * words.h: what matrix products are made of. A word is 4 bytes: one f32, or two bf16 that follow each other in the dimension that the product
 * sums over. Words are kept and moved as floats, bit for bit.
 */
#ifndef GATUN_WORDS_H
#define GATUN_WORDS_H

#include "simd.h"

namespace gatun::GATUN_ISA {

/** Words of f32: one element each. */
struct F32Words {
  using T = float;
  static constexpr int kStep = 1;
  GATUN_INLINE static floats multiply_add(float a, floats b, floats sum) { return fma(splat(a), b, sum); }
  /** dst[0..Width) = the words at src[0..Width), in rows of k that are `stride` apart. */
  template <int Width>
  GATUN_INLINE static void pack_words(float *dst, const float *src, int64_t) {
    std::memcpy(dst, src, sizeof(float) * Width);
  }
  GATUN_INLINE static float word(const float *src, int64_t, bool) { return *src; }
  /** Words of kStep rows' lanes, and a row's lanes as words of their own. */
  GATUN_INLINE static void store_pairs(float *dst, const floats (&rows)[1]) { store(dst, rows[0], Whole{}); }
  GATUN_INLINE static void store_row(float *dst, floats row) { store(dst, row, Whole{}); }
};

#if defined(__AVX512BF16__)
/** Words of two bf16. Their products are exact in f32; denormal ones and denormal sums count as zero (VDPBF16PS). */
struct Bf16Words {
  using T = bf16;
  static constexpr int kStep = 2;
  GATUN_INLINE static floats multiply_add(float a, floats b, floats sum) {
    return _mm512_dpbf16_ps(sum, bits_as<__m512bh>(splat_word(a)), bits_as<__m512bh>(b));
  }
  GATUN_INLINE static floats splat_word(float a) { return bits_as<floats>(_mm512_set1_epi32(bits_as<int32_t>(a))); }
  template <int Width>
  GATUN_INLINE static void pack_words(float *dst, const bf16 *src, int64_t stride) {
    if constexpr (Width % kLanes == 0) {
      for (int i = 0; i < Width; i += kLanes) {
        const words low = zero_extend(load_lanes<halfwords>(src + i, Whole{}));
        const words high = zero_extend(load_lanes<halfwords>(src + stride + i, Whole{}));
        store_lanes(dst + i, bits_as<floats>(low | high << 16), Whole{});
      }
    } else {
      static_assert(Width == 8);
      const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i *>(src));
      const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i *>(src + stride));
      _mm_storeu_si128(reinterpret_cast<__m128i *>(dst), _mm_unpacklo_epi16(low, high));
      _mm_storeu_si128(reinterpret_cast<__m128i *>(dst + 4), _mm_unpackhi_epi16(low, high));
    }
  }
  /** `pair`: there is a second row. */
  GATUN_INLINE static float word(const bf16 *src, int64_t stride, bool pair) {
    return bits_as<float>(src->bits | (pair ? static_cast<uint32_t>(src[stride].bits) << 16 : 0u));
  }
  /** Rounded to the nearest bf16, ties to even; denormal ones to zero (VCVTNE2PS2BF16). */
  GATUN_INLINE static void store_pairs(float *dst, const floats (&rows)[2]) {
    const __m512i lanes = bits_as<__m512i>(_mm512_cvtne2ps_pbh(rows[1], rows[0]));
    store_lanes(dst, bits_as<floats>(_mm512_permutexvar_epi16(bits_as<__m512i>(kInterleaved), lanes)), Whole{});
  }
  GATUN_INLINE static void store_row(float *dst, floats row) {
    const __m256bh lanes = _mm512_cvtneps_pbh(row);
    std::memcpy(dst, &lanes, sizeof lanes);
  }

 private:
  typedef uint16_t places __attribute__((vector_size(64)));
  static constexpr places kInterleaved = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                          8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
};
#endif

}  // namespace gatun::GATUN_ISA

#endif
