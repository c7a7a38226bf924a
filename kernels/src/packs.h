/*
 * packs.h: N elements of a row as they lie in memory, read and written by one access of N * sizeof(T) bytes, at most 16. What is read stays
 * in this form until it is computed with: it takes fewer registers than its floats, so more reads can be in flight.
 */
#ifndef GATUN_PACKS_H
#define GATUN_PACKS_H

#include "device.h"

namespace gatun::GATUN_ISA {

/** An IEEE binary16 as it is stored; only cast knows it. */
struct f16 {
  uint16_t bits;
};

template <int kBytes>
struct RawOf;
template <>
struct RawOf<16> {
  using type = uint4;
};
template <>
struct RawOf<8> {
  using type = uint2;
};
template <>
struct RawOf<4> {
  using type = uint32_t;
};
template <>
struct RawOf<2> {
  using type = uint16_t;
};
template <>
struct RawOf<1> {
  using type = uint8_t;
};

/** The bits of N elements of type T. */
template <class T, int N>
using Raw = typename RawOf<N *static_cast<int>(sizeof(T))>::type;

/** Whether N elements may be accessed at once here. Of a NULL pointer nothing is accessed. */
template <int N, class T>
bool aligned(const T *p) {
  return reinterpret_cast<uintptr_t>(p) % (N * sizeof(T)) == 0;
}

template <int N, class T>
__device__ __forceinline__ Raw<T, N> load_raw(const T *p) {
  return *reinterpret_cast<const Raw<T, N> *>(p);
}

template <int N, class T>
__device__ __forceinline__ void store_raw(T *p, Raw<T, N> raw) {
  *reinterpret_cast<Raw<T, N> *>(p) = raw;
}

/** Bits as 32-bit words; of one 16-bit element, in the low half. */
template <int kWords>
struct Words {
  uint32_t word[kWords];
};

__device__ __forceinline__ Words<4> words_of(uint4 raw) {
  return {{raw.x, raw.y, raw.z, raw.w}};
}
__device__ __forceinline__ Words<2> words_of(uint2 raw) {
  return {{raw.x, raw.y}};
}
__device__ __forceinline__ Words<1> words_of(uint32_t raw) {
  return {{raw}};
}
__device__ __forceinline__ Words<1> words_of(uint16_t raw) {
  return {{raw}};
}

template <class R>
__device__ __forceinline__ R raw_of(const uint32_t *word) {
  if constexpr (sizeof(R) == 16) {
    return make_uint4(word[0], word[1], word[2], word[3]);
  } else if constexpr (sizeof(R) == 8) {
    return make_uint2(word[0], word[1]);
  } else {
    return static_cast<R>(word[0]);
  }
}

/** Value of the low or, with half = 1, the high half of a word. */
template <class T>
__device__ __forceinline__ float widen_half(uint32_t word, int half);

template <>
__device__ __forceinline__ float widen_half<bf16>(uint32_t word, int half) {
  return __uint_as_float(half == 0 ? word << 16 : word & 0xffff0000u);
}

/** The floats of N elements. */
template <class T, int N>
__device__ __forceinline__ void unpack(float (&v)[N], Raw<T, N> raw) {
  const auto words = words_of(raw);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if constexpr (sizeof(T) == 4) {
      v[i] = __uint_as_float(words.word[i]);
    } else {
      v[i] = widen_half<T>(words.word[i / 2], i % 2);
    }
  }
}

/** Two elements of a 16-bit type in one word, the first in its low half; rounded to nearest even. */
template <class T>
__device__ __forceinline__ uint32_t narrow_halves(float low, float high);

template <>
__device__ __forceinline__ uint32_t narrow_halves<bf16>(float low, float high) {
  return to_bf16x2(low, high);
}

/** N floats as elements. */
template <class T, int N>
__device__ __forceinline__ Raw<T, N> pack(const float (&v)[N]) {
  uint32_t word[N];
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < N; ++i) word[i] = __float_as_uint(v[i]);
  } else if constexpr (N == 1) {
    word[0] = narrow_halves<T>(v[0], v[0]) & 0xffffu;
  } else {
#pragma unroll
    for (int i = 0; i < N; i += 2) word[i / 2] = narrow_halves<T>(v[i], v[i + 1]);
  }
  return raw_of<Raw<T, N>>(word);
}

/** A bf16 as it is stored where a NaN keeps its sign and upper payload, made quiet, as on the CPU. The instruction knows but one NaN. */
struct exact_bf16 {
  uint16_t bits;
};

template <>
__device__ __forceinline__ float widen_half<exact_bf16>(uint32_t word, int half) {
  return widen_half<bf16>(word, half);
}

template <>
__device__ __forceinline__ uint32_t narrow_halves<exact_bf16>(float low, float high) {
  uint32_t both = to_bf16x2(low, high);
  if (low != low) both = (both & 0xffff0000u) | __float_as_uint(low) >> 16 | 0x40u;
  if (high != high) both = (both & 0xffffu) | (__float_as_uint(high) & 0xffff0000u) | 0x400000u;
  return both;
}

/** Loads or stores N floats by accesses of at most 16 bytes. */
template <int N>
__device__ __forceinline__ void load_floats(float (&v)[N], const float *p) {
  constexpr int kEach = N < 4 ? N : 4;
#pragma unroll
  for (int at = 0; at < N; at += kEach) {
    float part[kEach];
    unpack<float, kEach>(part, load_raw<kEach>(p + at));
#pragma unroll
    for (int i = 0; i < kEach; ++i) v[at + i] = part[i];
  }
}

template <int N>
__device__ __forceinline__ void store_floats(float *p, const float (&v)[N]) {
  constexpr int kEach = N < 4 ? N : 4;
#pragma unroll
  for (int at = 0; at < N; at += kEach) {
    float part[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) part[i] = v[at + i];
    store_raw<kEach>(p + at, pack<float, kEach>(part));
  }
}

}  // namespace gatun::GATUN_ISA

#endif
