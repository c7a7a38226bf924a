/*
 * elementwise.h: y[i] = f(x0[i], x1[i], ...) over contiguous arrays, at the speed of memory: 16-byte accesses, kUnroll of them in flight per
 * thread and array, a grid that fills the device and loops. Arrays that do not all begin on 16 bytes are gone through element by element.
 */
#ifndef GATUN_ELEMENTWISE_H
#define GATUN_ELEMENTWISE_H

#include "device.h"

namespace gatun::GATUN_ISA {

constexpr int kElementwiseThreads = 256;
/** Blocks that keep every multiprocessor of the largest devices busy; more elements mean more turns of the loop. */
constexpr int64_t kElementwiseBlocks = 148 * 8;
constexpr int kUnroll = 2;

/** f(y, x...): the floats of one pack, or of one element. y may be one of x. */
template <bool kAligned, class F, class Y, class... X>
__global__ void __launch_bounds__(kElementwiseThreads) elementwise_kernel(F f, int64_t count, Y *y, const X *...x) {
  // Of the types involved the smallest decides how many elements a turn takes.
  constexpr int kElements = kAligned ? kPack<Y> : 1;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kElementwiseThreads;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x;
  const int64_t packs = kAligned ? count / kElements : count;
  const auto one = [&](int64_t at) {
    float result[1];
    const auto element = [&](auto... inputs) { f(result, inputs.value...); };
    struct Single {
      float value[1];
    };
    element(Single{{to_float(x[at])}}...);
    y[at] = from_float<Y>(result[0]);
  };
  if constexpr (kAligned) {
    struct Loaded {
      float value[kElements];
    };
    const auto load = [](const auto *p) {
      Loaded loaded;
      load_pack(loaded.value, p);
      return loaded;
    };
    int64_t pack = first;
    for (; pack + (kUnroll - 1) * threads < packs; pack += kUnroll * threads) {
      float results[kUnroll][kElements];
      const auto step = [&](int turn, auto... inputs) { f(results[turn], inputs.value...); };
#pragma unroll
      for (int turn = 0; turn < kUnroll; ++turn) step(turn, load(x + (pack + turn * threads) * kElements)...);
#pragma unroll
      for (int turn = 0; turn < kUnroll; ++turn) store_pack(y + (pack + turn * threads) * kElements, results[turn]);
    }
    for (; pack < packs; pack += threads) {
      float results[kElements];
      const auto step = [&](auto... inputs) { f(results, inputs.value...); };
      step(load(x + pack * kElements)...);
      store_pack(y + pack * kElements, results);
    }
    for (int64_t at = packs * kElements + first; at < count; at += threads) one(at);
  } else {
    for (int64_t at = first; at < count; at += threads) one(at);
  }
}

/** Runs f over `count` elements; all arrays have the type of y. */
template <class F, class Y, class... X>
void elementwise(const char *name, cudaStream_t stream, F f, int64_t count, Y *y, const X *...x) {
  static_assert((std::is_same_v<X, Y> && ...));
  const bool aligned = aligned16(y) && (aligned16(x) && ...);
  const int64_t per_block = int64_t{kElementwiseThreads} * (aligned ? kPack<Y> * kUnroll : 1);
  const int64_t wanted = ceil_div(count, per_block);
  const auto blocks = static_cast<unsigned>(wanted < kElementwiseBlocks ? wanted : kElementwiseBlocks);
  if (aligned) {
    launch(name, elementwise_kernel<true, F, Y, X...>, blocks, kElementwiseThreads, 0, stream, f, count, y, x...);
  } else {
    launch(name, elementwise_kernel<false, F, Y, X...>, blocks, kElementwiseThreads, 0, stream, f, count, y, x...);
  }
}

}  // namespace gatun::GATUN_ISA

#endif
