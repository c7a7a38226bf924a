/*
 * simd.h: vectors of floats as wide as the instruction set has, in GCC's vector extensions (g++ and clang), with intrinsics where
 * the compiler does not find the one instruction. Everything here is compiled once per instruction set, in its own namespace.
 *
 * A loop over n elements runs whole vectors and then one part of a vector, through the same code:
 *   for_vectors(n, [&](int64_t i, auto span) { store(y + i, load(x + i, span) * 2.0f, span); });
 * Sums and products are fused by fma() alone, never by the compiler, so that one formula rounds alike wherever it stands.
 * A part loads zeros in the lanes that it does not have, and leaves memory alone there when storing.
 */
#ifndef GATUN_SIMD_H
#define GATUN_SIMD_H

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#pragma GCC diagnostic push
#if !defined(__clang__)  // false alarms inside g++ 12's AVX-512 headers (GCC bug 105593)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

namespace gatun::GATUN_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float floats __attribute__((vector_size(kLanes * 4)));
typedef int32_t ints __attribute__((vector_size(kLanes * 4)));
typedef uint32_t words __attribute__((vector_size(kLanes * 4)));
typedef uint16_t halfwords __attribute__((vector_size(kLanes * 2)));

/** Brain float: the upper half of a float. */
struct bf16 {
  uint16_t bits;
};

#define GATUN_INLINE inline __attribute__((always_inline))
/** For a lambda that a loop over vectors calls: after its parameters. */
#define GATUN_LAMBDA_INLINE __attribute__((always_inline))

template <class To, class From>
GATUN_INLINE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

/** All lanes of a vector. */
struct Whole {};
/** The first `count` lanes, 1 <= count < kLanes. */
struct Part {
  int count;
};

GATUN_INLINE int lanes_of(Whole) {
  return kLanes;
}
GATUN_INLINE int lanes_of(Part part) {
  return part.count;
}

/** Calls body(i, span) for vectors that cover [0, n). */
template <class Body>
GATUN_INLINE void for_vectors(int64_t n, const Body &body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Whole{});
  if (i < n) body(i, Part{static_cast<int>(n - i)});
}

GATUN_INLINE floats splat(float x) {
  return x - floats{};
}

// ---- float <-> bf16 ----

GATUN_INLINE float widen(float x) {
  return x;
}
GATUN_INLINE float widen(bf16 x) {
  return bits_as<float>(static_cast<uint32_t>(x.bits) << 16);
}

GATUN_INLINE words zero_extend(halfwords x) {
#if defined(__AVX512F__)
  return bits_as<words>(_mm512_cvtepu16_epi32(bits_as<__m256i>(x)));
#else
  return __builtin_convertvector(x, words);
#endif
}
/** The lower half of each word. */
GATUN_INLINE halfwords truncate(words x) {
#if defined(__AVX512F__)
  return bits_as<halfwords>(_mm512_cvtepi32_epi16(bits_as<__m512i>(x)));
#else
  return __builtin_convertvector(x, halfwords);
#endif
}

GATUN_INLINE floats widen(halfwords bits) {
  return bits_as<floats>(zero_extend(bits) << 16);
}

/** Nearest, ties to even; a NaN stays a NaN, made quiet. Unlike VCVTNEPS2BF16, denormals are kept. */
GATUN_INLINE halfwords narrow(floats x) {
  const words bits = bits_as<words>(x);
  const words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const words quiet = (bits >> 16) | 0x40u;
  const words is_nan = bits_as<words>(x != x);
  return truncate((rounded & ~is_nan) | (quiet & is_nan));
}

GATUN_INLINE bf16 narrow(float x) {
  const uint32_t bits = bits_as<uint32_t>(x);
  if (x != x) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <class T>
GATUN_INLINE T narrow_to(float x) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return x;
  } else {
    return narrow(x);
  }
}

// ---- memory ----

#if defined(__AVX512F__)
GATUN_INLINE __mmask16 mask_of(Part part) {
  return static_cast<__mmask16>((1u << part.count) - 1u);
}
#endif

/** Lanes of any 16- or 32-bit type, as the vector type V. */
template <class V, class T>
GATUN_INLINE V load_lanes(const T *p, Whole) {
  V v;
  static_assert(sizeof v == kLanes * sizeof *p);
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
GATUN_INLINE V load_lanes(const T *p, Part part) {
#if defined(__AVX512F__)
  if constexpr (sizeof *p == 4) {
    return bits_as<V>(_mm512_maskz_loadu_epi32(mask_of(part), p));
  } else {
    return bits_as<V>(_mm256_maskz_loadu_epi16(mask_of(part), p));
  }
#else
  T lanes[kLanes] = {};
  for (int i = 0; i < part.count; ++i) lanes[i] = p[i];
  V v;
  std::memcpy(&v, lanes, sizeof v);
  return v;
#endif
}
template <class V, class T>
GATUN_INLINE void store_lanes(T *p, V v, Whole) {
  static_assert(sizeof v == kLanes * sizeof *p);
  std::memcpy(static_cast<void *>(p), &v, sizeof v);
}
template <class V, class T>
GATUN_INLINE void store_lanes(T *p, V v, Part part) {
#if defined(__AVX512F__)
  if constexpr (sizeof *p == 4) {
    _mm512_mask_storeu_epi32(p, mask_of(part), bits_as<__m512i>(v));
  } else {
    _mm256_mask_storeu_epi16(p, mask_of(part), bits_as<__m256i>(v));
  }
#else
  T lanes[kLanes];
  std::memcpy(static_cast<void *>(lanes), &v, sizeof v);
  for (int i = 0; i < part.count; ++i) p[i] = lanes[i];
#endif
}

template <class Span>
GATUN_INLINE floats load(const float *p, Span span) {
  return load_lanes<floats>(p, span);
}
template <class Span>
GATUN_INLINE floats load(const bf16 *p, Span span) {
  return widen(load_lanes<halfwords>(p, span));
}
template <class Span>
GATUN_INLINE void store(float *p, floats v, Span span) {
  store_lanes(p, v, span);
}
template <class Span>
GATUN_INLINE void store(bf16 *p, floats v, Span span) {
  store_lanes(p, narrow(v), span);
}

/** v in the lanes of the span, `other` elsewhere. */
GATUN_INLINE floats keep(floats v, float, Whole) {
  return v;
}
GATUN_INLINE floats keep(floats v, float other, Part part) {
#if defined(__AVX512F__)
  return _mm512_mask_blend_ps(mask_of(part), _mm512_set1_ps(other), v);
#else
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof v);
  for (int i = part.count; i < kLanes; ++i) lanes[i] = other;
  std::memcpy(&v, lanes, sizeof v);
  return v;
#endif
}

// ---- arithmetic ----

/** a > b ? a : b in each lane: b where either is NaN. */
GATUN_INLINE floats max(floats a, floats b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
/** a < b ? a : b in each lane: b where either is NaN. */
GATUN_INLINE floats min(floats a, floats b) {
#if defined(__AVX512F__)
  return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#elif defined(__SSE2__)
  return _mm_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}
GATUN_INLINE floats sqrt(floats a) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(a);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(a);
#elif defined(__SSE2__)
  return _mm_sqrt_ps(a);
#else
  for (int i = 0; i < kLanes; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
#endif
}
/** a b + c, rounded once where the instruction set can. */
GATUN_INLINE floats fma(floats a, floats b, floats c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  for (int i = 0; i < kLanes; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#else
  return a * b + c;
#endif
}
GATUN_INLINE floats fma(float a, floats b, floats c) {
  return fma(splat(a), b, c);
}
/** 1 / x within 1 ulp; x is positive and at most 2^127. */
GATUN_INLINE floats reciprocal(floats x) {
#if defined(__AVX512F__)
  // 14 bits, doubled by one step of Newton's iteration: a division takes four times as long.
  const floats y = _mm512_rcp14_ps(x);
  return fma(y, fma(-x, y, splat(1.0f)), y);
#else
  return 1.0f / x;
#endif
}
GATUN_INLINE floats abs(floats a) {
  return bits_as<floats>(bits_as<words>(a) & 0x7fffffffu);
}
/** |a| with the sign of b. */
GATUN_INLINE floats copysign(floats a, floats b) {
  return bits_as<floats>((bits_as<words>(a) & 0x7fffffffu) | (bits_as<words>(b) & 0x80000000u));
}

/** Sum of all lanes, halves first: the order depends on the width of a vector alone. */
GATUN_INLINE float sum(floats v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
GATUN_INLINE float largest(floats v) {
  float lanes[kLanes];
  std::memcpy(lanes, &v, sizeof v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
  }
  return lanes[0];
}

GATUN_INLINE bool any_equal(floats a, float b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, _mm512_set1_ps(b), _CMP_EQ_OQ) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(_mm256_cmp_ps(a, _mm256_set1_ps(b), _CMP_EQ_OQ)) != 0;
#elif defined(__SSE2__)
  return _mm_movemask_ps(_mm_cmpeq_ps(a, _mm_set1_ps(b))) != 0;
#else
  bool any = false;
  for (int i = 0; i < kLanes; ++i) any = any || a[i] == b;
  return any;
#endif
}
/** The first i < count with x[i] == value; one must be there. */
GATUN_INLINE int64_t first_equal(const float *x, int64_t count, float value) {
  int64_t i = 0;
  while (i + kLanes <= count && !any_equal(load(x + i, Whole{}), value)) i += kLanes;
  while (x[i] != value) ++i;
  return i;
}

/** The nearest integer, as a float and as an int. |x| < 2^22. */
struct Rounded {
  floats value;
  ints integer;
};
GATUN_INLINE Rounded round(floats x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding it leaves the integer in the low bits
  const floats shifted = x + kMagic;
  return {shifted - kMagic, bits_as<ints>(shifted) - bits_as<int32_t>(kMagic)};
}

/** x * 2^n, right also where the result is denormal. -252 <= n <= 254. */
GATUN_INLINE floats scale_by_power_of_two(floats x, Rounded n) {
#if defined(__AVX512F__)
  return _mm512_scalef_ps(x, n.value);
#else
  const ints half = n.integer >> 1;
  const ints rest = n.integer - half;
  return x * bits_as<floats>((half + 127) << 23) * bits_as<floats>((rest + 127) << 23);
#endif
}

/**
 * e^x = 2^n e^r, n = round(x / log 2), |r| <= log(2) / 2; e^r = 1 + r + r^2 p(r), p of degree 4 (relative error 4e-9, fitted by Lawson's
 * iteration). exp(0) = 1, exp(-inf) = 0, exp(+inf) = inf, NaN -> NaN. Largest error measured: 0.9 ulp, 1.2 without fused
 * multiplication (simd_test.cpp).
 */
GATUN_INLINE floats exp(floats x) {
  x = max(splat(-105.0f), min(splat(90.0f), x));
  constexpr float kLog2E = 1.44269504088896340736f;
  constexpr float kLn2High = 0.693359375f;  // 9 bits: its products with n are exact
  constexpr float kLn2Low = -2.12194440054690583e-4f;
  const Rounded n = round(x * kLog2E);
  const floats r = fma(n.value, splat(-kLn2Low), fma(n.value, splat(-kLn2High), x));
  floats p = splat(0.001381422160193324f);
  p = fma(p, r, splat(0.00836889911442995f));
  p = fma(p, r, splat(0.04166840389370918f));
  p = fma(p, r, splat(0.1666651964187622f));
  p = fma(p, r, splat(0.4999999403953552f));
  p = fma(p, r, splat(1.0f));
  p = fma(p, r, splat(1.0f));
  return scale_by_power_of_two(p, n);
}

/** tanh x: an odd polynomial below 0.55 (relative error 1e-9, fitted by Lawson's iteration), 1 - 2 / (e^2|x| + 1) above. Largest error
 * measured: 1.5 ulp. */
GATUN_INLINE floats tanh(floats x) {
  const floats z = x * x;
  floats p = splat(-0.0062742396257817745f);
  p = fma(p, z, splat(0.021071679890155792f));
  p = fma(p, z, splat(-0.05385230854153633f));
  p = fma(p, z, splat(0.13332585990428925f));
  p = fma(p, z, splat(-0.33333316445350647f));
  const floats near = fma(x * z, p, x);
  const floats magnitude = abs(x);
  const floats far = copysign(fma(-2.0f, reciprocal(exp(min(splat(88.0f), 2.0f * magnitude)) + 1.0f), splat(1.0f)), x);
  return magnitude < 0.55f ? near : far;
}

}  // namespace gatun::GATUN_ISA

#endif
