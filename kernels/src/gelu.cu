/*
 * gelu: y = x s(2u), u = sqrt(2/pi) (x + 0.044715 x^3), the tanh approximation; formulas in activation.h.
 * Threads: elementwise.h. No shared memory. Deterministic. Traffic per element: forward one read, one write, about 20 FLOPs; backward two
 * reads, one or two writes, about 30 FLOPs.
 */
#include "activation.h"
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

struct Gelu {
  __device__ __forceinline__ float operator()(float x) const { return GeluTanh::value(x); }
};

template <class T>
struct GeluBackward {
  T *d_x, *y;
  const T *d_y, *x;

  template <int N>
  struct Loaded {
    Raw<T, N> d_y, x;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {load_raw<N>(d_y + at), load_raw<N>(x + at)};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float d[N], v[N];
    unpack<T, N>(d, loaded.d_y);
    unpack<T, N>(v, loaded.x);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const ValueAndSlope gelu = GeluTanh::value_and_slope(v[i]);
      d[i] *= gelu.slope;
      v[i] = gelu.value;
    }
    store_raw<N>(d_x + at, pack<T, N>(d));
    if (y != nullptr) store_raw<N>(y + at, pack<T, N>(v));
  }
};

}  // namespace

int32_t gelu_forward(void *y, const void *x, int64_t count, int32_t dtype, void *stream) {
  return guarded("gelu_forward", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("y", y);
      check_pointer("x", x);
      elementwise("gelu_forward", on, Gelu{}, count, static_cast<T *>(y), static_cast<const T *>(x));
    });
  });
}

int32_t gelu_backward(void *d_x, void *y, const void *d_y, const void *x, int64_t count, int32_t dtype, void *stream) {
  return guarded("gelu_backward", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    with_dtype(dtype, [&]<class T>(T) {
      if (count == 0) return;
      check_pointer("d_x", d_x);
      check_pointer("d_y", d_y);
      check_pointer("x", x);
      const bool whole = aligned16(d_x) && aligned16(y) && aligned16(d_y) && aligned16(x);
      for_elements<kPack<T>, 2>("gelu_backward", on, whole, count,
                                GeluBackward<T>{static_cast<T *>(d_x), static_cast<T *>(y), static_cast<const T *>(d_y), static_cast<const T *>(x)});
    });
  });
}

}  // namespace gatun::GATUN_ISA
