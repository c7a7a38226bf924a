/*
 * swiglu: y = activation(gate) * up, with gate_up [rows, 2 * width] = [gate | up]. SILU: swiglu; GELU_TANH: geglu.
 *   d_gate = d_y * up * activation'(gate); d_up = d_y * activation(gate)
 * Threads take rows. Deterministic. Traffic per element of y: forward two reads, one write; backward three reads, two or three writes.
 */
#include "activation.h"
#include "parallel.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

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

int32_t swiglu_forward(void *y, const void *gate_up, int64_t rows, int64_t width, int32_t activation, int32_t dtype, void *) {
  return guarded("swiglu_forward", [&] {
    check_extent("rows", rows);
    check_positive("width", width);
    with_dtype(dtype, [&]<class T>(T) {
      with_activation(activation, [&]<class Activation>(Activation) {
        if (rows == 0) return;
        check_pointer("y", y);
        check_pointer("gate_up", gate_up);
        parallel_for(rows, rows * width * 4 * int64_t{sizeof(T)}, [&](int64_t row) {
          T *out = static_cast<T *>(y) + row * width;
          const T *gate = static_cast<const T *>(gate_up) + row * 2 * width;
          const T *up = gate + width;
          for_vectors(width, [&](int64_t i, auto span) { store(out + i, Activation::value(load(gate + i, span)) * load(up + i, span), span); });
        });
      });
    });
  });
}

int32_t swiglu_backward(void *d_gate_up, void *y, const void *d_y, const void *gate_up, int64_t rows, int64_t width, int32_t activation,
                        int32_t dtype, void *) {
  return guarded("swiglu_backward", [&] {
    check_extent("rows", rows);
    check_positive("width", width);
    with_dtype(dtype, [&]<class T>(T) {
      with_activation(activation, [&]<class Activation>(Activation) {
        if (rows == 0) return;
        check_pointer("d_gate_up", d_gate_up);
        check_pointer("d_y", d_y);
        check_pointer("gate_up", gate_up);
        parallel_for(rows, rows * width * 6 * int64_t{sizeof(T)}, [&](int64_t row) {
          T *d_gate = static_cast<T *>(d_gate_up) + row * 2 * width;
          T *d_up = d_gate + width;
          T *out = y == nullptr ? nullptr : static_cast<T *>(y) + row * width;
          const T *d_out = static_cast<const T *>(d_y) + row * width;
          const T *gate = static_cast<const T *>(gate_up) + row * 2 * width;
          const T *up = gate + width;
          for_vectors(width, [&](int64_t i, auto span) {
            const ValueAndSlope activated = Activation::value_and_slope(load(gate + i, span));
            const floats u = load(up + i, span);
            const floats d = load(d_out + i, span);
            store(d_gate + i, d * u * activated.slope, span);
            store(d_up + i, d * activated.value, span);
            if (out != nullptr) store(out + i, activated.value * u, span);
          });
        });
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
