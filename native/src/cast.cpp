/*
 * cast: dst[i] = src[i] for any pair of f32, bf16 and f16, rounded to nearest, ties to even; NaN stays NaN, made quiet.
 * Threads take ranges of elements. Deterministic. Traffic: one read and one write per element.
 */
#include <cstring>

#include "guard.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

/** IEEE binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
struct f16 {
  uint16_t bits;
};

#if defined(__F16C__)

GATUN_INLINE floats widen_half(halfwords x) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(bits_as<__m256i>(x));
#else
  return _mm256_cvtph_ps(bits_as<__m128i>(x));
#endif
}
GATUN_INLINE halfwords narrow_half(floats x) {
#if defined(__AVX512F__)
  return bits_as<halfwords>(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  return bits_as<halfwords>(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
#endif
}

#else

GATUN_INLINE floats widen_half(halfwords x) {
  const words bits = zero_extend(x);
  const words sign = (bits & 0x8000u) << 16;
  const words magnitude = bits & 0x7fffu;
  // Shifted into place the exponent is 112 too small: a product with 2^112 is exact, for denormals too.
  const floats scaled = bits_as<floats>(magnitude << 13) * 0x1p112f;
  const words special = bits_as<words>(magnitude > 0x7bffu);  // infinity and NaN keep an exponent of all ones
  const words quiet = bits_as<words>(magnitude > 0x7c00u) & 0x00400000u;
  const words special_bits = (magnitude << 13) | 0x7f800000u | quiet;
  return bits_as<floats>(sign | (bits_as<words>(scaled) & ~special) | (special_bits & special));
}
GATUN_INLINE halfwords narrow_half(floats x) {
  const words bits = bits_as<words>(x);
  const words sign = (bits >> 16) & 0x8000u;
  const words magnitude = bits & 0x7fffffffu;
  // Normal results: move the exponent's bias from 127 to 15 and round to even on 13 bits; a carry runs into the exponent, at most to infinity.
  const words normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 1/2 leaves the value in units of 2^-24, rounded to even by the addition.
  const words denormal = bits_as<words>(bits_as<floats>(magnitude) + 0.5f) - bits_as<uint32_t>(0.5f);
  const words nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  const words is_denormal = bits_as<words>(magnitude < 0x38800000u);
  const words is_overflow = bits_as<words>(magnitude >= 0x477ff000u);  // 65520, which rounds to 65536
  const words is_nan = bits_as<words>(magnitude > 0x7f800000u);
  words result = (denormal & is_denormal) | (normal & ~is_denormal);
  result = (is_overflow & 0x7c00u) | (~is_overflow & result);
  result = (is_nan & nan) | (~is_nan & result);
  return truncate(sign | result);
}

#endif

template <class Span>
GATUN_INLINE floats load(const f16 *p, Span span) {
  return widen_half(load_lanes<halfwords>(p, span));
}
template <class Span>
GATUN_INLINE void store(f16 *p, floats v, Span span) {
  store_lanes(p, narrow_half(v), span);
}

template <class Body>
void with_storage(const char *name, int32_t dtype, const Body &body) {
  switch (dtype) {
    case GATUN_F32:
      body(float{});
      return;
    case GATUN_BF16:
      body(bf16{});
      return;
    case GATUN_F16:
      body(f16{});
      return;
    default:
      invalid_dtype(name, dtype, "0 (f32), 1 (bf16) or 2 (f16)");
  }
}

}  // namespace

int32_t cast(void *dst, const void *src, int64_t count, int32_t dst_dtype, int32_t src_dtype, void *) {
  return guarded("cast", [&] {
    check_extent("count", count);
    with_storage("dst_dtype", dst_dtype, [&]<class To>(To) {
      with_storage("src_dtype", src_dtype, [&]<class From>(From) {
        if (count == 0) return;
        check_pointer("dst", dst);
        check_pointer("src", src);
        if (dst == src) {
          if (dst_dtype != src_dtype) invalid("dst is src with another dtype, expected two places: elements have different sizes");
          return;
        }
        parallel_ranges(count, sizeof(To) + sizeof(From), [&](int64_t begin, int64_t end) {
          To *to = static_cast<To *>(dst) + begin;
          const From *from = static_cast<const From *>(src) + begin;
          if (dst_dtype == src_dtype) {
            std::memcpy(static_cast<void *>(to), from, (end - begin) * sizeof(To));
          } else {
            for_vectors(end - begin, [&](int64_t i, auto span) { store(to + i, load(from + i, span), span); });
          }
        });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
