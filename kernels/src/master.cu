/*
 * split_master and join_master: between f32 values and the stored weights of master.h. With remainders the two are exact inverses on
 * every bit pattern.
 * Threads: elementwise.h. No shared memory. Deterministic. Traffic per element: 4 bytes one way, 2 or 4 the other. No FLOPs.
 */
#include "elementwise.h"
#include "master.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Weights>
struct Split {
  Weights weights;
  const float *source;

  template <int N>
  struct Loaded {
    Raw<float, N> x;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {load_raw<N>(source + at)};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float w[N];
    unpack<float, N>(w, loaded.x);
    weights.template store<N>(at, w);
  }
};

template <class Weights>
struct Join {
  float *destination;
  Weights weights;

  template <int N>
  struct Loaded {
    typename Weights::template Loaded<N> w;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {weights.template load<N>(at)};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float w[N];
    weights.template masters<N>(w, loaded.w);
    store_raw<N>(destination + at, pack<float, N>(w));
  }
};

}  // namespace

int32_t split_master(void *weight, uint16_t *remainder, const float *source, int64_t count, int32_t dtype, void *stream) {
  return guarded("split_master", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    with_weights(weight, remainder, dtype, [&]<class Weights>(const Weights &weights) {
      if (count == 0) return;
      check_pointer("weight", weight);
      check_pointer("source", source);
      for_elements<kMasterPack, 4>("split_master", on, weights.whole() && aligned16(source), count, Split<Weights>{weights, source});
    });
  });
}

int32_t join_master(float *destination, const void *weight, const uint16_t *remainder, int64_t count, int32_t dtype, void *stream) {
  return guarded("join_master", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    // The weights are only read; with_weights has one form for readers and writers.
    with_weights(const_cast<void *>(weight), const_cast<uint16_t *>(remainder), dtype, [&]<class Weights>(const Weights &weights) {
      if (count == 0) return;
      check_pointer("destination", destination);
      check_pointer("weight", weight);
      for_elements<kMasterPack, 4>("join_master", on, weights.whole() && aligned16(destination), count, Join<Weights>{destination, weights});
    });
  });
}

}  // namespace gatun::GATUN_ISA
