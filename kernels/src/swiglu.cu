/*
 * swiglu: y = activation(gate) * up, with gate_up [rows, 2 * width] = [gate | up]. SILU: swiglu; GELU_TANH: geglu.
 *   d_gate = d_y * up * activation'(gate); d_up = d_y * activation(gate)
 * Threads: elementwise.h over the elements of y; element at of row r has its gate at `at + r * width`, its up `width` further. No shared
 * memory. Deterministic. Traffic per element of y: forward two reads, one write, about 15 FLOPs (silu); backward three reads, two or three
 * writes, about 20 FLOPs.
 */
#include "activation.h"
#include "elementwise.h"
#include "guard.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Activation, class T>
struct SwigluForward {
  T *y;
  const T *gate_up;
  int64_t width;

  template <int N>
  struct Loaded {
    Raw<T, N> gate, up;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    const T *gate = gate_up + at + at / width * width;
    return {load_raw<N>(gate), load_raw<N>(gate + width)};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float gate[N], up[N];
    unpack<T, N>(gate, loaded.gate);
    unpack<T, N>(up, loaded.up);
#pragma unroll
    for (int i = 0; i < N; ++i) gate[i] = Activation::value(gate[i]) * up[i];
    store_raw<N>(y + at, pack<T, N>(gate));
  }
};

template <class Activation, class T>
struct SwigluBackward {
  T *d_gate_up, *y;
  const T *d_y, *gate_up;
  int64_t width;

  template <int N>
  struct Loaded {
    Raw<T, N> gate, up, d;
    int64_t gate_at;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    const int64_t gate_at = at + at / width * width;
    return {load_raw<N>(gate_up + gate_at), load_raw<N>(gate_up + gate_at + width), load_raw<N>(d_y + at), gate_at};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float gate[N], up[N], d[N];
    unpack<T, N>(gate, loaded.gate);
    unpack<T, N>(up, loaded.up);
    unpack<T, N>(d, loaded.d);
    float out[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const ValueAndSlope activated = Activation::value_and_slope(gate[i]);
      out[i] = activated.value * up[i];
      gate[i] = d[i] * up[i] * activated.slope;
      up[i] = d[i] * activated.value;
    }
    store_raw<N>(d_gate_up + loaded.gate_at, pack<T, N>(gate));
    store_raw<N>(d_gate_up + loaded.gate_at + width, pack<T, N>(up));
    if (y != nullptr) store_raw<N>(y + at, pack<T, N>(out));
  }
};

template <class Body>
void with_activation(int32_t activation, const Body &body) {
  switch (activation) {
    case GATUN_SILU:
      body(Silu{});
      return;
    case GATUN_GELU_TANH:
      body(GeluTanh{});
      return;
    default:
      invalid("activation is %d, expected 0 (silu) or 1 (gelu_tanh)", activation);
  }
}

}  // namespace

int32_t swiglu_forward(void *y, const void *gate_up, int64_t rows, int64_t width, int32_t activation, int32_t dtype, void *stream) {
  return guarded("swiglu_forward", stream, [&](cudaStream_t on) {
    check_extent("rows", rows);
    check_positive("width", width);
    with_dtype(dtype, [&]<class T>(T) {
      with_activation(activation, [&]<class Activation>(Activation) {
        if (rows == 0) return;
        check_pointer("y", y);
        check_pointer("gate_up", gate_up);
        const SwigluForward<Activation, T> op{static_cast<T *>(y), static_cast<const T *>(gate_up), width};
        const bool whole = packs<T>(y, width, width) && aligned16(gate_up);
        for_elements<kPack<T>, 2>("swiglu_forward", on, whole, rows * width, op);
      });
    });
  });
}

int32_t swiglu_backward(void *d_gate_up, void *y, const void *d_y, const void *gate_up, int64_t rows, int64_t width, int32_t activation,
                        int32_t dtype, void *stream) {
  return guarded("swiglu_backward", stream, [&](cudaStream_t on) {
    check_extent("rows", rows);
    check_positive("width", width);
    with_dtype(dtype, [&]<class T>(T) {
      with_activation(activation, [&]<class Activation>(Activation) {
        if (rows == 0) return;
        check_pointer("d_gate_up", d_gate_up);
        check_pointer("d_y", d_y);
        check_pointer("gate_up", gate_up);
        const SwigluBackward<Activation, T> op{static_cast<T *>(d_gate_up), static_cast<T *>(y), static_cast<const T *>(d_y),
                                               static_cast<const T *>(gate_up), width};
        const bool whole = packs<T>(d_y, width, width) && aligned16(d_gate_up) && aligned16(y) && aligned16(gate_up);
        for_elements<kPack<T>, 2>("swiglu_backward", on, whole, rows * width, op);
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
