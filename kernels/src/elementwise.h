/*
 * elementwise.h: work on elements that stand alone, at the speed of memory: the elements of a block lie together, a thread takes N of them at
 * a time, kTurns times, and has the reads of all turns in flight before it writes. Where 16-byte accesses are not possible N is 1.
 * The grid covers all elements; a block does one piece, so that multiprocessors of any number are evenly busy.
 */
#ifndef GATUN_ELEMENTWISE_H
#define GATUN_ELEMENTWISE_H

#include "packs.h"

namespace gatun::GATUN_ISA {

constexpr int kElementwiseThreads = 256;

/**
 * An Op says in two halves what happens to the N elements from `at` on:
 *   template <int N> struct Loaded
 *   template <int N> Loaded<N> load(int64_t at) const                       reads
 *   template <int N> void finish(int64_t at, const Loaded<N> &) const      computes and writes
 */
template <int N, int kTurns, class Op>
__global__ void __launch_bounds__(kElementwiseThreads) elements_kernel(Op op, int64_t count) {
  constexpr int kStep = kElementwiseThreads * N;
  const int64_t block_begin = static_cast<int64_t>(blockIdx.x) * (kStep * kTurns);
  const int64_t begin = block_begin + static_cast<int>(threadIdx.x) * N;
  if (block_begin + kStep * kTurns <= count) {
    typename Op::template Loaded<N> loaded[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) loaded[turn] = op.template load<N>(begin + turn * kStep);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) op.template finish<N>(begin + turn * kStep, loaded[turn]);
    return;
  }
#pragma unroll 1
  for (int64_t at = begin; at < count; at += kStep) {
    if (at + N <= count) {
      op.template finish<N>(at, op.template load<N>(at));
    } else {
#pragma unroll 1
      for (int64_t i = at; i < count; ++i) op.template finish<1>(i, op.template load<1>(i));
    }
  }
}

/** Runs op over [0, count): N elements at a time if `whole`, else one. */
template <int N, int kTurns, class Op>
void for_elements(const char *name, cudaStream_t stream, bool whole, int64_t count, const Op &op) {
  const auto run = [&]<int kEach, int kTimes>(std::integral_constant<int, kEach>, std::integral_constant<int, kTimes>) {
    const auto blocks = static_cast<unsigned>(ceil_div(count, int64_t{kElementwiseThreads} * kEach * kTimes));
    launch(name, elements_kernel<kEach, kTimes, Op>, blocks, kElementwiseThreads, 0, stream, op, count);
  };
  if (whole) {
    run(std::integral_constant<int, N>{}, std::integral_constant<int, kTurns>{});
  } else {
    run(std::integral_constant<int, 1>{}, std::integral_constant<int, 4>{});
  }
}

/** y[i] = f(x[0][i]) or f(x[0][i], x[1][i]). */
template <class T, int kInputs, class F>
struct Map {
  F f;
  T *y;
  const T *x[kInputs];

  template <int N>
  struct Loaded {
    Raw<T, N> x[kInputs];
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    Loaded<N> loaded;
#pragma unroll
    for (int input = 0; input < kInputs; ++input) loaded.x[input] = load_raw<N>(x[input] + at);
    return loaded;
  }

  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float in[kInputs][N], out[N];
#pragma unroll
    for (int input = 0; input < kInputs; ++input) unpack<T, N>(in[input], loaded.x[input]);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if constexpr (kInputs == 1) {
        out[i] = f(in[0][i]);
      } else {
        out[i] = f(in[0][i], in[1][i]);
      }
    }
    store_raw<N>(y + at, pack<T, N>(out));
  }
};

/** Runs f over `count` elements; y may be one of x. */
template <class F, class T, class... X>
void elementwise(const char *name, cudaStream_t stream, F f, int64_t count, T *y, const X *...x) {
  static_assert((std::is_same_v<X, T> && ...));
  constexpr int kInputs = static_cast<int>(sizeof...(x));
  for_elements<kPack<T>, 4>(name, stream, aligned16(y) && (aligned16(x) && ...), count, Map<T, kInputs, F>{f, y, {x...}});
}

}  // namespace gatun::GATUN_ISA

#endif
