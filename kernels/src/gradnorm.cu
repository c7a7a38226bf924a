/*
 * gradnorm: norm = sqrt(sum gradient^2); scale = min(1, max_norm / (norm + 1e-6)), or 1 if max_norm <= 0 (torch.nn.utils.clip_grad_norm_).
 * Threads: one wave of blocks, whose number depends on the count alone, strides over the gradient, four 16-byte reads in flight per thread;
 * squares, exact in double, are summed in double. One block then adds the blocks' sums in a fixed order. Shared memory: 256 bytes.
 * Deterministic. Traffic: one read per element; 2 FLOPs in double.
 */
#include "guard.h"
#include "packs.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kThreads = 256;
constexpr int kTurns = 4;
/** Blocks of the first step, as many doubles in the workspace: eight for each of an A100's multiprocessors, six or seven for an H200's. */
constexpr int64_t kMostBlocks = 108 * 8;
constexpr int kFinalThreads = 1024;

/** As block_sum, in double; the result is that of thread 0. To be called once in a kernel. */
__device__ __forceinline__ double block_sum_once(double value) {
  GATUN_SHARED(sums, double[32]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const auto lanes_sum = [](double total) {
#pragma unroll
    for (int step = kWarp / 2; step > 0; step /= 2) total += __shfl_xor_sync(kAllLanes, total, step);
    return total;
  };
  value = lanes_sum(value);
  if (lane == 0) sums[warp] = value;
  __syncthreads();
  if (warp != 0) return 0.0;
  return lanes_sum(lane < static_cast<int>(blockDim.x) / kWarp ? sums[lane] : 0.0);
}

template <int N>
__device__ __forceinline__ double plus_squares(double total, Raw<float, N> raw) {
  float x[N];
  unpack<float, N>(x, raw);
#pragma unroll
  for (int i = 0; i < N; ++i) total = fma(static_cast<double>(x[i]), static_cast<double>(x[i]), total);
  return total;
}

template <int N>
__global__ void __launch_bounds__(kThreads) squares_kernel(double *block_sums, const float *gradient, int64_t count) {
  const int64_t packs = count / N, step = static_cast<int64_t>(gridDim.x) * kThreads;
  int64_t pack = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  double totals[kTurns] = {};
  for (; pack + (kTurns - 1) * step < packs; pack += kTurns * step) {
    Raw<float, N> raw[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) raw[turn] = load_raw<N>(gradient + (pack + turn * step) * N);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) totals[turn] = plus_squares<N>(totals[turn], raw[turn]);
  }
  for (; pack < packs; pack += step) totals[0] = plus_squares<N>(totals[0], load_raw<N>(gradient + pack * N));
  // At most N - 1 elements are left; the first threads of the grid take one each.
  const int64_t rest = packs * N + static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (rest < count) totals[1] = plus_squares<1>(totals[1], load_raw<1>(gradient + rest));
  const double total = block_sum_once((totals[0] + totals[1]) + (totals[2] + totals[3]));
  if (threadIdx.x == 0) block_sums[blockIdx.x] = total;
}

__global__ void __launch_bounds__(kFinalThreads) norm_kernel(float *norm_and_scale, const double *block_sums, int blocks, float max_norm) {
  double total = 0.0;
  for (int block = static_cast<int>(threadIdx.x); block < blocks; block += kFinalThreads) total += block_sums[block];
  total = block_sum_once(total);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(total);
  const double clip = max_norm / (norm + 1e-6);
  norm_and_scale[0] = static_cast<float>(norm);
  norm_and_scale[1] = !(max_norm > 0) || clip >= 1 ? 1.0f : static_cast<float>(clip);  // a NaN norm gives a NaN scale
}

}  // namespace

int32_t gradnorm(float *norm_and_scale, const float *gradient, int64_t count, float max_norm, void *workspace, void *stream) {
  return guarded("gradnorm", stream, [&](cudaStream_t on) {
    check_extent("count", count);
    check_pointer("norm_and_scale", norm_and_scale);
    int64_t blocks = 0;
    double *block_sums = static_cast<double *>(workspace);
    if (count > 0) {
      check_pointer("gradient", gradient);
      check_pointer("workspace", workspace);
      blocks = ceil_div(count, kThreads * kPack<float> * kTurns);
      if (blocks > kMostBlocks) blocks = kMostBlocks;
      launch("gradnorm", aligned16(gradient) ? squares_kernel<kPack<float>> : squares_kernel<1>, static_cast<unsigned>(blocks), kThreads, 0, on,
             block_sums, gradient, count);
    }
    launch("gradnorm", norm_kernel, 1, kFinalThreads, 0, on, norm_and_scale, block_sums, blocks, max_norm);
  });
}

}  // namespace gatun::GATUN_ISA
