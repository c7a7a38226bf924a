/*
 * sgd, as torch.optim.SGD: g = gradient * *gradient_scale + weight_decay * w (first decay_count elements)
 *   buffer = g on the first step, momentum * buffer + g later, and g = buffer       if there is a buffer
 *   w -= learning_rate * g
 * Threads: elementwise.h, 4 elements of all arrays at a time. No shared memory. Deterministic. Traffic per element: reads 8 (12), writes
 * 4 (8) bytes without (with) buffer; about 6 FLOPs.
 */
#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Weights, bool kBuffered>
struct Sgd {
  Weights weights;
  float *buffer;
  Gradient gradient;
  Decay decay;
  float rate, of_buffer;
  bool first_step;

  template <int N>
  struct Loaded {
    typename Weights::template Loaded<N> w;
    Raw<float, N> buffer;
    Gradient::Loaded<N> g;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    Loaded<N> loaded;
    loaded.w = weights.template load<N>(at);
    loaded.buffer = Raw<float, N>{};
    if constexpr (kBuffered) {
      if (!first_step) loaded.buffer = load_raw<N>(buffer + at);
    }
    loaded.g = gradient.load<N>(at);
    return loaded;
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float w[N], g[N], former[N];
    weights.template masters<N>(w, loaded.w);
    if constexpr (kBuffered) unpack<float, N>(former, loaded.buffer);
    gradient.scaled<N>(g, loaded.g);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      g[i] = fmaf(decay.of(at, i), w[i], g[i]);
      if constexpr (kBuffered) {
        if (!first_step) g[i] = fmaf(of_buffer, former[i], g[i]);
      }
      w[i] = fmaf(-rate, g[i], w[i]);
    }
    if constexpr (kBuffered) store_raw<N>(buffer + at, pack<float, N>(g));
    weights.template store<N>(at, w);
  }
};

}  // namespace

int32_t sgd(void *weight, uint16_t *remainder, float *buffer, const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count,
            double learning_rate, double momentum, double weight_decay, int32_t first_step, int32_t dtype, void *stream) {
  return guarded("sgd", stream, [&](cudaStream_t on) {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    if (buffer == nullptr && momentum != 0) invalid("momentum is %g but buffer is NULL, expected memory for the buffer", momentum);
    with_weights(weight, remainder, dtype, [&]<class Weights>(const Weights &weights) {
      if (count == 0) return;
      with_bool(buffer != nullptr, [&]<class Buffered>(Buffered) {
        const Sgd<Weights, Buffered::value> op{.weights = weights,
                                               .buffer = buffer,
                                               .gradient = {gradient, gradient_scale},
                                               .decay = {decay_count, static_cast<float>(weight_decay)},
                                               .rate = static_cast<float>(learning_rate),
                                               .of_buffer = static_cast<float>(momentum),
                                               .first_step = first_step != 0};
        const bool whole = weights.whole() && aligned16(buffer) && op.gradient.whole();
        for_elements<kMasterPack, kOptimizerTurns>("sgd", on, whole, count, op);
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
