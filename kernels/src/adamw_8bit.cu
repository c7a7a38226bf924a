/*
 * adamw_8bit: adamw.cu's formulas on moments of 8 bits (moments.h): a block of GATUN_MOMENT_BLOCK elements is decoded, stepped with, and
 * encoded again with the scale that its largest moment asks for.
 * A warp takes a block, a lane eight of its elements in two packs of four, so that what lies between decoding and encoding stays in registers
 * and the largest moment is found by shuffles. No shared memory. Deterministic.
 * Traffic per element: reads 10, writes 6 bytes (f32 weights; bf16 with remainder the same); about 110 instructions, most of them coding.
 */
#include <cmath>

#include "optimizer.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kThreads = 256;
constexpr int kBlock = GATUN_MOMENT_BLOCK;
constexpr int kEach = kBlock / kWarp;

template <class Weights>
struct AdamW8bit {
  Weights weights;
  uint8_t *first_moment, *second_moment;
  float *first_scale, *second_scale;
  Gradient gradient;
  Decay decay;
  float b1, of_g, b2, of_square, step, root_scale, epsilon;

  /** The i-th of a lane's packs of N elements in a block. */
  template <int N>
  __device__ static int64_t pack_begin(int64_t block_begin, int i) {
    return block_begin + i * (kWarp * N) + static_cast<int>(threadIdx.x) % kWarp * N;
  }

  /** Steps the block from block_begin on, N elements at a time; those behind `count` are not there. */
  template <int N>
  __device__ __forceinline__ void run(int64_t block_begin, int64_t count) const {
    constexpr int kPacks = kEach / N;
    const int64_t block = block_begin / kBlock;
    const float unit_m = first_scale[block], unit_v = second_scale[block];
    float m[kPacks][N] = {}, v[kPacks][N] = {};
    typename Weights::template Loaded<N> loaded[kPacks];
    float largest_m = 0, largest_v = 0;
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t at = pack_begin<N>(block_begin, k);
      if (at >= count) continue;
      const auto codes_m = load_raw<N>(first_moment + at), codes_v = load_raw<N>(second_moment + at);
      float g[N];
      gradient.scaled<N>(g, gradient.load<N>(at));
      loaded[k] = weights.template load<N>(at);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        m[k][i] = fmaf(b1, decode_first(static_cast<uint8_t>(codes_m >> (8 * i)), unit_m), of_g * g[i]);
        v[k][i] = fmaf(b2, decode_second(static_cast<uint8_t>(codes_v >> (8 * i)), unit_v), of_square * g[i] * g[i]);
        largest_m = fmaxf(largest_m, fabsf(m[k][i]));
        largest_v = fmaxf(largest_v, v[k][i]);
      }
    }
    const float scale_m = moment_scale<7>(warp_max(largest_m)), scale_v = moment_scale<8>(warp_max(largest_v));
    const float inverse_m = scale_m > 0 ? 1.0f / scale_m : 0.0f, inverse_v = scale_v > 0 ? 1.0f / scale_v : 0.0f;
    __syncwarp();  // all lanes have read the old scales
    if (threadIdx.x % kWarp == 0) {
      first_scale[block] = scale_m;
      second_scale[block] = scale_v;
    }
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      const int64_t at = pack_begin<N>(block_begin, k);
      if (at >= count) continue;
      float w[N];
      weights.template masters<N>(w, loaded[k]);
      uint32_t codes_m = 0, codes_v = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        codes_m |= static_cast<uint32_t>(encode_first(m[k][i], inverse_m)) << (8 * i);
        codes_v |= static_cast<uint32_t>(encode_second(v[k][i], inverse_v)) << (8 * i);
        w[i] = fmaf(-step, m[k][i] / fmaf(root_scale, sqrtf(v[k][i]), epsilon), w[i] * (1.0f - decay.of(at, i)));
      }
      store_raw<N>(first_moment + at, static_cast<Raw<uint8_t, N>>(codes_m));
      store_raw<N>(second_moment + at, static_cast<Raw<uint8_t, N>>(codes_v));
      weights.template store<N>(at, w);
    }
  }
};

template <bool kWhole, class Op>
__global__ void __launch_bounds__(kThreads, 4) blocks_kernel(Op op, int64_t count) {
  const int64_t block_begin = (static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp) * kBlock;
  if (block_begin >= count) return;
  if (kWhole && block_begin + kBlock <= count) {
    op.template run<kMasterPack>(block_begin, count);
  } else {
    op.template run<1>(block_begin, count);
  }
}

}  // namespace

int32_t adamw_8bit(void *weight, uint16_t *remainder, uint8_t *first_moment, uint8_t *second_moment, float *first_scale, float *second_scale,
                   const float *gradient, const float *gradient_scale, int64_t count, int64_t decay_count, double learning_rate, double beta1,
                   double beta2, double eps, double weight_decay, double correction1, double correction2, uint64_t rounding_seed, int32_t dtype,
                   void *stream) {
  return guarded("adamw_8bit", stream, [&](cudaStream_t on) {
    check_optimizer(weight, gradient, gradient_scale, count, decay_count);
    check_corrections(correction1, correction2);
    with_weights(weight, remainder, rounding_seed, dtype, [&]<class Weights>(const Weights &weights) {
      if (count == 0) return;
      check_pointer("first_moment", first_moment);
      check_pointer("second_moment", second_moment);
      check_pointer("first_scale", first_scale);
      check_pointer("second_scale", second_scale);
      const AdamW8bit<Weights> op{.weights = weights,
                                  .first_moment = first_moment,
                                  .second_moment = second_moment,
                                  .first_scale = first_scale,
                                  .second_scale = second_scale,
                                  .gradient = {gradient, gradient_scale},
                                  .decay = {decay_count, static_cast<float>(learning_rate * weight_decay)},
                                  .b1 = static_cast<float>(beta1),
                                  .of_g = static_cast<float>(1.0 - beta1),
                                  .b2 = static_cast<float>(beta2),
                                  .of_square = static_cast<float>(1.0 - beta2),
                                  .step = static_cast<float>(learning_rate / correction1),
                                  .root_scale = static_cast<float>(1.0 / std::sqrt(correction2)),
                                  .epsilon = static_cast<float>(eps)};
      const bool whole = weights.whole() && aligned<kMasterPack>(first_moment) && aligned<kMasterPack>(second_moment) && op.gradient.whole();
      const auto blocks = static_cast<unsigned>(ceil_div(count, int64_t{kBlock} * (kThreads / kWarp)));
      with_bool(whole, [&](auto is_whole) {
        launch("adamw_8bit", blocks_kernel<decltype(is_whole)::value, AdamW8bit<Weights>>, blocks, kThreads, 0, on, op, count);
      });
    });
  });
}

}  // namespace gatun::GATUN_ISA
