/*
 * adamw, as torch.optim.AdamW (Loshchilov & Hutter, arXiv 1711.05101, algorithm 2): g = gradient * *gradient_scale
 *   w *= 1 - learning_rate * weight_decay         first decay_count elements
 *   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
 *   w -= learning_rate / correction1 * m / (sqrt(v) / sqrt(correction2) + eps)
 * Threads: elementwise.h, 4 elements of all arrays at a time; one launch for all weights. No shared memory. Deterministic.
 * Traffic per element: reads 16, writes 12 bytes (f32, or bf16 with remainder); about 15 FLOPs.
 */
#include <cmath>

#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Weights>
struct AdamW {
  Weights weights;
  float *first_moment, *second_moment;
  Gradient gradient;
  Decay decay;
  float b1, of_g, b2, of_square, step, root_scale, epsilon;

  template <int N>
  struct Loaded {
    typename Weights::template Loaded<N> w;
    Raw<float, N> m, v;
    Gradient::Loaded<N> g;
  };

  template <int N>
  __device__ __forceinline__ Loaded<N> load(int64_t at) const {
    return {weights.template load<N>(at), load_raw<N>(first_moment + at), load_raw<N>(second_moment + at), gradient.load<N>(at)};
  }
  template <int N>
  __device__ __forceinline__ void finish(int64_t at, const Loaded<N> &loaded) const {
    float w[N], m[N], v[N], g[N];
    weights.template masters<N>(w, loaded.w);
    unpack<float, N>(m, loaded.m);
    unpack<float, N>(v, loaded.v);
    gradient.scaled<N>(g, loaded.g);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      m[i] = fmaf(b1, m[i], of_g * g[i]);
      v[i] = fmaf(b2, v[i], of_square * g[i] * g[i]);
      w[i] = fmaf(-step, m[i] / fmaf(root_scale, sqrtf(v[i]), epsilon), w[i] * (1.0f - decay.of(at, i)));
    }
    store_raw<N>(first_moment + at, pack<float, N>(m));
    store_raw<N>(second_moment + at, pack<float, N>(v));
    weights.template store<N>(at, w);
  }
};

}  // namespace

int32_t adamw(void *weight, uint16_t *remainder, float *first_moment, float *second_moment, const float *gradient, const float *gradient_scale,
              int64_t count, int64_t decay_count, double learning_rate, double beta1, double beta2, double eps, double weight_decay,
              double correction1, double correction2, uint64_t rounding_seed, int32_t dtype, void *stream) {
  return guarded("adamw", stream, [&](cudaStream_t on) {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    check_corrections(correction1, correction2);
    with_weights(weight, remainder, rounding_seed, dtype, [&]<class Weights>(const Weights &weights) {
      if (count == 0) return;
      check_pointer("first_moment", first_moment);
      check_pointer("second_moment", second_moment);
      const AdamW<Weights> op{.weights = weights,
                              .first_moment = first_moment,
                              .second_moment = second_moment,
                              .gradient = {gradient, gradient_scale},
                              .decay = {decay_count, static_cast<float>(learning_rate * weight_decay)},
                              .b1 = static_cast<float>(beta1),
                              .of_g = static_cast<float>(1.0 - beta1),
                              .b2 = static_cast<float>(beta2),
                              .of_square = static_cast<float>(1.0 - beta2),
                              .step = static_cast<float>(learning_rate / correction1),
                              .root_scale = static_cast<float>(1.0 / std::sqrt(correction2)),
                              .epsilon = static_cast<float>(eps)};
      const bool whole = weights.whole() && aligned16(first_moment) && aligned16(second_moment) && op.gradient.whole();
      for_elements<kMasterPack, kOptimizerTurns>("adamw", on, whole, count, op);
    });
  });
}

}  // namespace gatun::GATUN_ISA
