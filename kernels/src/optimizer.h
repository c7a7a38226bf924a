/* optimizer.h: what adamw, rmsprop and sgd share. */
#ifndef GATUN_OPTIMIZER_H
#define GATUN_OPTIMIZER_H

#include "elementwise.h"
#include "master.h"

namespace gatun::GATUN_ISA {

/** Turns of elementwise.h. An element has four or five arrays: so many reads keep memory busy. */
constexpr int kOptimizerTurns = 2;

/** g = gradient * scale, read in two halves as all of an Op. */
struct Gradient {
  const float *gradient;
  const float *scale;

  template <int N>
  struct Loaded {
    Raw<float, N> g;
    float scale;
  };

  bool whole() const { return aligned16(gradient); }
  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {load_raw<N>(gradient + at), *scale};
  }
  template <int N>
  __device__ __forceinline__ void scaled(float (&g)[N], const Loaded<N> &loaded) const {
    unpack<float, N>(g, loaded.g);
#pragma unroll
    for (int i = 0; i < N; ++i) g[i] *= loaded.scale;
  }
};

/** The first `count` elements have this decay, the others 0. */
struct Decay {
  int64_t count;
  float value;

  /** Of element at + i. */
  __device__ __forceinline__ float of(int64_t at, int i) const { return at + i < count ? value : 0.0f; }
};

}  // namespace gatun::GATUN_ISA

#endif
