/*
 * master.h: how optimizers read and write weights.
 *   f32             the weight itself
 *   bf16            the weight, rounded to nearest even when written, or stochastically
 *   bf16 + remainder  the exact f32 master, whose bits are (weight << 16) + (int16_t)remainder; weight is the master rounded to nearest,
 *                   ties away from zero
 */
#ifndef GATUN_MASTER_H
#define GATUN_MASTER_H

#include "guard.h"
#include "packs.h"

#define GATUN_HOST_DEVICE __host__ __device__
#include "moments.h"

namespace gatun::GATUN_ISA {

/** Elements that a thread takes at once: 16 bytes of f32, 8 of 16-bit weights, so that neighbours touch neighbouring bytes of all arrays. */
constexpr int kMasterPack = 4;

/** Weights of type T without remainders; T is float or exact_bf16. */
template <class T>
struct PlainWeights {
  T *weight;

  template <int N>
  using Loaded = Raw<T, N>;

  bool whole() const { return aligned<kMasterPack>(weight); }
  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return load_raw<N>(weight + at);
  }
  template <int N>
  __device__ __forceinline__ void masters(float (&w)[N], const Loaded<N> &loaded) const {
    unpack<T, N>(w, loaded);
  }
  template <int N>
  __device__ __forceinline__ void store(int64_t at, const float (&w)[N]) const {
    store_raw<N>(weight + at, pack<T, N>(w));
  }
};

/** bf16 without remainders, rounded stochastically. */
struct StochasticWeights {
  bf16 *weight;
  uint64_t seed;

  template <int N>
  using Loaded = Raw<bf16, N>;

  bool whole() const { return aligned<kMasterPack>(weight); }
  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return load_raw<N>(weight + at);
  }
  template <int N>
  __device__ __forceinline__ void masters(float (&w)[N], const Loaded<N> &loaded) const {
    unpack<bf16, N>(w, loaded);
  }
  /** Whole packs begin at multiples of kMasterPack, so that one hash serves a pack. */
  template <int N>
  __device__ __forceinline__ void store(int64_t at, const float (&w)[N]) const {
    static_assert(N == 1 || N == kMasterPack);
    const uint64_t random = rounding_bits(seed, at);
    uint32_t word[(N + 1) / 2] = {};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      word[i / 2] |= static_cast<uint32_t>(round_stochastically(__float_as_uint(w[i]), random, at + i)) << (i % 2 * 16);
    }
    store_raw<N>(weight + at, raw_of<Raw<bf16, N>>(word));
  }
};

struct SplitWeights {
  bf16 *weight;
  uint16_t *remainder;

  template <int N>
  struct Loaded {
    Raw<bf16, N> weight;
    Raw<uint16_t, N> remainder;
  };

  bool whole() const { return aligned<kMasterPack>(weight) && aligned<kMasterPack>(remainder); }
  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {load_raw<N>(weight + at), load_raw<N>(remainder + at)};
  }
  template <int N>
  __device__ __forceinline__ void masters(float (&w)[N], const Loaded<N> &loaded) const {
    const auto upper = words_of(loaded.weight), lower = words_of(loaded.remainder);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const uint32_t high = i % 2 == 0 ? upper.word[i / 2] << 16 : upper.word[i / 2] & 0xffff0000u;
      const uint32_t low = i % 2 == 0 ? lower.word[i / 2] & 0xffffu : lower.word[i / 2] >> 16;
      w[i] = __uint_as_float(high + ((low ^ 0x8000u) - 0x8000u));
    }
  }
  template <int N>
  __device__ __forceinline__ void store(int64_t at, const float (&w)[N]) const {
    constexpr int kWords = (N + 1) / 2;
    uint32_t upper[kWords] = {}, lower[kWords] = {};
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const uint32_t bits = __float_as_uint(w[i]), nearest = (bits + 0x8000u) >> 16;
      upper[i / 2] |= nearest << (i % 2 * 16);
      lower[i / 2] |= (bits & 0xffffu) << (i % 2 * 16);
    }
    store_raw<N>(weight + at, raw_of<Raw<bf16, N>>(upper));
    store_raw<N>(remainder + at, raw_of<Raw<uint16_t, N>>(lower));
  }
};

/** Calls body with the weights that dtype, remainder and rounding_seed say. */
template <class Body>
void with_weights(void *weight, uint16_t *remainder, uint64_t rounding_seed, int32_t dtype, const Body &body) {
  with_dtype(dtype, [&]<class T>(T) {
    using Stored = std::conditional_t<sizeof(T) == 2, exact_bf16, T>;
    if (rounding_seed != 0) {
      check_stochastic(remainder, dtype);
      if constexpr (sizeof(T) == 2) body(StochasticWeights{static_cast<bf16 *>(weight), rounding_seed});
    } else if (remainder == nullptr) {
      body(PlainWeights<Stored>{static_cast<Stored *>(weight)});
    } else if constexpr (sizeof(T) == 2) {
      body(SplitWeights{static_cast<bf16 *>(weight), remainder});
    } else {
      invalid("remainder is given with dtype 0 (f32), expected NULL: a remainder completes bf16 weights only");
    }
  });
}

template <class Body>
void with_weights(void *weight, uint16_t *remainder, int32_t dtype, const Body &body) {
  with_weights(weight, remainder, 0, dtype, body);
}

}  // namespace gatun::GATUN_ISA

#endif
