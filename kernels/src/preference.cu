/*
 * preference: the losses of preference_math.h over pairs, and their gradients by every log-prob in closed form.
 *   sum of an answer = sum of its log-probs, those beyond the shorter answer's length times ld_alpha
 *   loss[p] = pair_scale[p] * wpo[p] * sum_k weight_k L_k + sft_scale[p] * weight_sft * -(plain sum of chosen log-probs)
 *   wpo[p] = product over both answers of exp(mean(log_prob - log_sum_square)), a constant to the gradient; 1 without use_weighting
 * aot and aot_unpaired pair up values of equal rank inside a group: the loss of a rank counts as that of the pair whose policy (aot) or chosen
 * (aot_unpaired) value has the rank, with that pair's scale; equal values keep the order of their pairs.
 *
 * One kernel, or, where a loss sorts, three, all in double:
 *   pair_kernel     a block takes a pair: its threads sum the log-probs, thread 0 computes the losses that need no other pair; then, if no
 *                   loss sorts, all write the gradients
 *   rank_kernel     a block takes a group: a value's rank is the number of values before it, counted; then a thread takes a rank. Each of a
 *                   pair's two values has one rank, so that no two threads add to one number
 *   spread_kernel   a block takes a pair and writes its loss and gradients
 * Shared memory 272 bytes. Workspace: 64 bytes per pair. Sums are taken in an order that depends on nothing: deterministic.
 * Traffic: each log-prob is read once and each gradient written once. What it costs is latency.
 */
#include <cmath>

#include "device.h"
#include "guard.h"
#include "rows.h"

#define GATUN_HOST_DEVICE __host__ __device__
#include "preference_checks.h"
#include "preference_math.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

using Options = gatun_preference_options;

/** What is kept of a pair between the kernels. 64 bytes of workspace. */
struct PairState {
  double policy_chosen;
  double policy_rejected;
  double reference_chosen;
  double reference_rejected;
  double loss;
  double d_chosen;
  double d_rejected;
  /** Not this pair's: element i of the group's two orders, as indices of pairs. */
  int32_t first_order;
  int32_t second_order;
};
static_assert(sizeof(PairState) == 64);

/** Where a pair's predictions lie. */
struct Answers {
  int chosen_begin;
  int rejected_begin;
  int rejected_end;

  __device__ Answers(const int32_t *answer_begin, int64_t pair)
      : chosen_begin(answer_begin[2 * pair]), rejected_begin(answer_begin[2 * pair + 1]), rejected_end(answer_begin[2 * pair + 2]) {}

  __device__ int chosen_length() const { return rejected_begin - chosen_begin; }
  __device__ int rejected_length() const { return rejected_end - rejected_begin; }
  __device__ int shared_length() const { return chosen_length() < rejected_length() ? chosen_length() : rejected_length(); }
};

__device__ double at_least_one(int length) {
  return length < 1 ? 1.0 : length;
}

struct Inputs {
  const float *log_prob;
  const float *reference_log_prob;
  const float *log_sum_square;
  const int32_t *answer_begin;
  const float *pair_scale;
  const float *sft_scale;
};

/** Sums over an answer, of a thread or of all. */
struct AnswerSums {
  double policy;     // after ld_alpha
  double reference;  // after ld_alpha
  double plain;      // of the policy's log-probs
  double weight;     // log_prob - log_sum_square
};

/** The calling thread's share. */
__device__ AnswerSums sums_of(const Inputs &in, int begin, int end, int shared_length, const Options &options) {
  AnswerSums sums = {};
  for (int n = begin + static_cast<int>(threadIdx.x); n < end; n += kThreads) {
    const double log_prob = static_cast<double>(in.log_prob[n]);
    const double ld = n - begin < shared_length ? 1.0 : static_cast<double>(options.ld_alpha);
    sums.policy += ld * log_prob;
    sums.plain += log_prob;
    if (in.reference_log_prob != nullptr) sums.reference += ld * static_cast<double>(in.reference_log_prob[n]);
    if (options.use_weighting != 0) sums.weight += log_prob - static_cast<double>(in.log_sum_square[n]);
  }
  return sums;
}

__device__ double warp_sum(double value) {
#pragma unroll
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAllLanes, value, step);
  return value;
}

__device__ AnswerSums warp_sum(const AnswerSums &sums) {
  return {warp_sum(sums.policy), warp_sum(sums.reference), warp_sum(sums.plain), warp_sum(sums.weight)};
}

__device__ AnswerSums total_of(const AnswerSums (&of_warps)[kWarps]) {
  AnswerSums total = of_warps[0];
#pragma unroll 1
  for (int w = 1; w < kWarps; ++w) {
    total.policy += of_warps[w].policy;
    total.reference += of_warps[w].reference;
    total.plain += of_warps[w].plain;
    total.weight += of_warps[w].weight;
  }
  return total;
}

/** Gradients of the pair's log-probs; all threads of the block. */
__device__ void spread(float *d_log_prob, const Answers &at, double d_chosen, double d_rejected, double d_sft, double ld_alpha) {
  const int shared_length = at.shared_length();
  for (int n = at.chosen_begin + static_cast<int>(threadIdx.x); n < at.rejected_end; n += kThreads) {
    const bool chosen = n < at.rejected_begin;
    const double ld = n - (chosen ? at.chosen_begin : at.rejected_begin) < shared_length ? 1.0 : ld_alpha;
    d_log_prob[n] = static_cast<float>(chosen ? ld * d_chosen + d_sft : ld * d_rejected);
  }
}

/** Sums and the losses of single pairs; what is left of a pair, into its state. */
__device__ PairState state_of(const AnswerSums &chosen, const AnswerSums &rejected, const Answers &at, double pair_scale, double d_sft,
                              const Options &options) {
  PairState state = {};
  state.policy_chosen = chosen.policy;
  state.policy_rejected = rejected.policy;
  if (options.reference_free == 0) {
    state.reference_chosen = chosen.reference;
    state.reference_rejected = rejected.reference;
  }
  const double chosen_length = at_least_one(at.chosen_length()), rejected_length = at_least_one(at.rejected_length());
  double scale = pair_scale;
  if (options.use_weighting != 0) scale *= ::exp(chosen.weight / chosen_length) * ::exp(rejected.weight / rejected_length);
  const PairSums sums = {state.policy_chosen,      state.policy_rejected, state.reference_chosen,
                         state.reference_rejected, chosen_length,         rejected_length};
  for (int k = 0; k < options.num_losses; ++k) {
    if (options.losses[k] == GATUN_LOSS_SFT || loss_sorts(options.losses[k])) continue;
    const PairLoss l = pair_loss(options.losses[k], sums, options);
    const double weight = scale * static_cast<double>(options.loss_weights[k]);
    state.loss += weight * l.loss;
    state.d_chosen += weight * l.d_chosen;
    state.d_rejected += weight * l.d_rejected;
  }
  if (d_sft != 0) state.loss += d_sft * chosen.plain;
  return state;
}

/** Gradient of the step's loss by every chosen log-prob, from sft. */
__device__ double d_sft_of(const Inputs &in, int64_t pair, double sft_weight) {
  return sft_weight == 0 ? 0.0 : -sft_weight * static_cast<double>(in.sft_scale[pair]);
}

/** kSorts: losses that compare pairs follow, so the state is kept; else this is all. */
template <bool kSorts>
__global__ void __launch_bounds__(kThreads) pair_kernel(float *loss, float *sums, float *d_log_prob, PairState *states, const Inputs in,
                                                        double sft_weight, const __grid_constant__ Options options) {
  GATUN_SHARED(chosen_of_warps, AnswerSums[kWarps]);
  GATUN_SHARED(rejected_of_warps, AnswerSums[kWarps]);
  GATUN_SHARED(d_answers, double[2]);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int64_t pair = blockIdx.x;
  const Answers at(in.answer_begin, pair);
  const double d_sft = d_sft_of(in, pair, sft_weight);

  const AnswerSums own_chosen = warp_sum(sums_of(in, at.chosen_begin, at.rejected_begin, at.shared_length(), options));
  const AnswerSums own_rejected = warp_sum(sums_of(in, at.rejected_begin, at.rejected_end, at.shared_length(), options));
  if (lane == 0) {
    chosen_of_warps[warp] = own_chosen;
    rejected_of_warps[warp] = own_rejected;
  }
  __syncthreads();
  if (thread == 0) {
    const AnswerSums chosen = total_of(chosen_of_warps), rejected = total_of(rejected_of_warps);
    sums[4 * pair] = static_cast<float>(chosen.policy);
    sums[4 * pair + 1] = static_cast<float>(rejected.policy);
    sums[4 * pair + 2] = static_cast<float>(chosen.reference);
    sums[4 * pair + 3] = static_cast<float>(rejected.reference);
    const PairState state = state_of(chosen, rejected, at, static_cast<double>(in.pair_scale[pair]), d_sft, options);
    if constexpr (kSorts) {
      states[pair] = state;
    } else {
      loss[pair] = static_cast<float>(state.loss);
      d_answers[0] = state.d_chosen;
      d_answers[1] = state.d_rejected;
    }
  }
  if constexpr (!kSorts) {
    __syncthreads();
    spread(d_log_prob, at, d_answers[0], d_answers[1], d_sft, static_cast<double>(options.ld_alpha));
  }
}

/** The two values of a pair that are sorted, each among its like. */
struct Keys {
  double first;
  double second;
};

__device__ Keys keys_of(const PairState &s, bool paired) {
  if (paired) return {s.policy_chosen - s.policy_rejected, s.reference_chosen - s.reference_rejected};
  return {s.policy_chosen - s.reference_chosen, s.policy_rejected - s.reference_rejected};
}

/** Whether value `a` of pair p comes before value `b` of pair q. NaN comes last, so that ranks are distinct whatever the values. */
__device__ bool before(double a, int p, double b, int q) {
  if (isnan(a)) a = INFINITY;
  if (isnan(b)) b = INFINITY;
  return a < b || (a == b && p < q);
}

__global__ void __launch_bounds__(kThreads)
    rank_kernel(PairState *states, const int32_t *group_begin, const float *pair_scale, const __grid_constant__ Options options) {
  const int thread = static_cast<int>(threadIdx.x);
  const int begin = group_begin[blockIdx.x], end = group_begin[blockIdx.x + 1];
  for (int k = 0; k < options.num_losses; ++k) {
    if (!loss_sorts(options.losses[k])) continue;
    const bool paired = options.losses[k] == GATUN_LOSS_AOT;
    for (int p = begin + thread; p < end; p += kThreads) {
      const Keys own = keys_of(states[p], paired);
      int first_rank = begin, second_rank = begin;
      for (int q = begin; q < end; ++q) {
        const Keys other = keys_of(states[q], paired);
        if (before(other.first, q, own.first, p)) ++first_rank;
        if (before(other.second, q, own.second, p)) ++second_rank;
      }
      states[first_rank].first_order = p;
      states[second_rank].second_order = p;
    }
    __syncthreads();
    for (int rank = begin + thread; rank < end; rank += kThreads) {
      const int first = states[rank].first_order, second = states[rank].second_order;
      const Slope l = rank_loss(keys_of(states[first], paired).first - keys_of(states[second], paired).second, options);
      const double scale = static_cast<double>(options.loss_weights[k]) * static_cast<double>(pair_scale[first]);
      states[first].loss += scale * l.value;
      states[first].d_chosen += scale * l.slope;
      states[paired ? first : second].d_rejected -= scale * l.slope;
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads)
    spread_kernel(float *loss, float *d_log_prob, const PairState *states, const Inputs in, double sft_weight, double ld_alpha) {
  const int64_t pair = blockIdx.x;
  const PairState &state = states[pair];
  if (threadIdx.x == 0) loss[pair] = static_cast<float>(state.loss);
  spread(d_log_prob, Answers(in.answer_begin, pair), state.d_chosen, state.d_rejected, d_sft_of(in, pair, sft_weight), ld_alpha);
}

}  // namespace

int32_t preference(float *loss, float *sums, float *d_log_prob, const float *log_prob, const float *reference_log_prob, const float *log_sum_square,
                   const int32_t *answer_begin, const int32_t *group_begin, const float *pair_scale, const float *sft_scale, int64_t pairs,
                   int64_t groups, const gatun_preference_options *options_in, void *workspace, void *stream) {
  return guarded("preference", stream, [&](cudaStream_t on) {
    check_extent("pairs", pairs);
    check_extent("groups", groups);
    check_pointer("options", options_in);
    const Options options = *options_in;
    check_options(options);
    if (pairs == 0) return;
    const Needs needs = needs_of(options);
    check_pointer("loss", loss);
    check_pointer("sums", sums);
    check_pointer("d_log_prob", d_log_prob);
    check_pointer("log_prob", log_prob);
    check_pointer("answer_begin", answer_begin);
    check_pointer("pair_scale", pair_scale);
    check_pointer("workspace", workspace);
    if (needs.reference) check_pointer("reference_log_prob", reference_log_prob);
    if (options.use_weighting != 0) check_pointer("log_sum_square", log_sum_square);
    if (needs.sft_weight != 0) check_pointer("sft_scale", sft_scale);
    if (needs.groups) {
      check_pointer("group_begin", group_begin);
      check_positive("groups", groups);
    }

    const Inputs in = {log_prob, reference_log_prob, log_sum_square, answer_begin, pair_scale, sft_scale};
    PairState *states = static_cast<PairState *>(workspace);
    const auto blocks = static_cast<unsigned>(pairs);
    with_bool(needs.groups, [&]<class Sorts>(Sorts) {
      launch("preference of pairs", pair_kernel<Sorts::value>, blocks, kThreads, 0, on, loss, sums, d_log_prob, states, in, needs.sft_weight,
             options);
    });
    if (needs.groups) {
      launch("preference of ranks", rank_kernel, static_cast<unsigned>(groups), kThreads, 0, on, states, group_begin, pair_scale, options);
      launch("preference, spread", spread_kernel, blocks, kThreads, 0, on, loss, d_log_prob, states, in, needs.sft_weight,
             static_cast<double>(options.ld_alpha));
    }
  });
}

}  // namespace gatun::GATUN_ISA
