/*
 * rmsprop, as torch.optim.RMSprop, not centered: g = gradient * *gradient_scale + weight_decay * w (first decay_count elements)
 *   v = alpha v + (1 - alpha) g^2;  step = g / (sqrt(v) + eps)
 *   buffer = momentum * buffer + step, step = buffer       if there is a buffer
 *   w -= learning_rate * step
 * Threads: elementwise.h, 4 elements of all arrays at a time. No shared memory. Deterministic. Traffic per element: reads 12 (16), writes
 * 8 (12) bytes without (with) buffer; about 12 FLOPs.
 */
#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Weights, bool kBuffered>
struct RmsProp {
  Weights weights;
  float *square_average, *buffer;
  Gradient gradient;
  Decay decay;
  float of_v, of_square, rate, epsilon, of_buffer;

  template <int N>
  struct Loaded {
    typename Weights::template Loaded<N> w;
    Raw<float, N> v, buffer;
    Gradient::Loaded<N> g;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    Loaded<N> loaded;
    loaded.w = weights.template load<N>(at);
    loaded.v = load_raw<N>(square_average + at);
    loaded.buffer = Raw<float, N>{};
    if constexpr (kBuffered) loaded.buffer = load_raw<N>(buffer + at);
    loaded.g = gradient.load<N>(at);
    return loaded;
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float w[N], v[N], steps[N], g[N];
    weights.template masters<N>(w, loaded.w);
    unpack<float, N>(v, loaded.v);
    if constexpr (kBuffered) unpack<float, N>(steps, loaded.buffer);
    gradient.scaled<N>(g, loaded.g);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float decayed = fmaf(decay.of(at, i), w[i], g[i]);
      v[i] = fmaf(of_v, v[i], of_square * decayed * decayed);
      const float step = decayed / __fadd_rn(sqrtf(v[i]), epsilon);
      if constexpr (kBuffered) {
        steps[i] = fmaf(of_buffer, steps[i], step);
      } else {
        steps[i] = step;
      }
      w[i] = fmaf(-rate, steps[i], w[i]);
    }
    store_raw<N>(square_average + at, pack<float, N>(v));
    if constexpr (kBuffered) store_raw<N>(buffer + at, pack<float, N>(steps));
    weights.template store<N>(at, w);
  }
};

}  // namespace

int32_t rmsprop(void *weight, uint16_t *remainder, float *square_average, float *buffer, const float *gradient, const float *gradient_scale,
                int64_t count, int64_t decay_count, double learning_rate, double alpha, double eps, double momentum, double weight_decay,
                int32_t dtype, void *stream) {
  return guarded("rmsprop", stream, [&](cudaStream_t on) {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    if (buffer == nullptr && momentum != 0) invalid("momentum is %g but buffer is NULL, expected memory for the buffer", momentum);
    with_weights(weight, remainder, dtype, [&]<class Weights>(const Weights &weights) {
      if (count == 0) return;
      check_pointer("square_average", square_average);
      with_bool(buffer != nullptr, [&]<class Buffered>(Buffered) {
        const RmsProp<Weights, Buffered::value> op{.weights = weights,
                                                   .square_average = square_average,
                                                   .buffer = buffer,
                                                   .gradient = {gradient, gradient_scale},
                                                   .decay = {decay_count, static_cast<float>(weight_decay)},
                                                   .of_v = static_cast<float>(alpha),
                                                   .of_square = static_cast<float>(1.0 - alpha),
                                                   .rate = static_cast<float>(learning_rate),
                                                   .epsilon = static_cast<float>(eps),
                                                   .of_buffer = static_cast<float>(momentum)};
        const bool whole = weights.whole() && aligned16(square_average) && aligned16(buffer) && op.gradient.whole();
        for_elements<kMasterPack, kOptimizerTurns>("rmsprop", on, whole, count, op);
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
