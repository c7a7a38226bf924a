/*
 * preference: the losses of preference_math.h over pairs, and their gradients by every log-prob in closed form.
 *   sum of an answer = sum of its log-probs, those beyond the shorter answer's length times ld_alpha
 *   loss[p] = pair_scale[p] * wpo[p] * sum_k weight_k L_k + sft_scale[p] * weight_sft * -(plain sum of chosen log-probs)
 *   wpo[p] = product over both answers of exp(mean(log_prob - log_sum_square)), a constant to the gradient; 1 without use_weighting
 * aot and aot_unpaired pair up values of equal rank inside a group: the loss of a rank counts as that of the pair whose policy (aot) or chosen
 * (aot_unpaired) value has the rank, with that pair's scale; equal values keep the order of their pairs.
 * One thread, in double, in the order of pairs and predictions: deterministic. Traffic: each log-prob twice, each gradient once.
 */
#include <cmath>

#include "guard.h"
#include "preference_checks.h"
#include "preference_math.h"
#include "rows.h"

namespace gatun::GATUN_ISA {
namespace {

/** What is kept of a pair between the passes. 64 bytes of workspace. */
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
  int64_t chosen_begin;
  int64_t rejected_begin;
  int64_t rejected_end;

  int64_t chosen_length() const { return rejected_begin - chosen_begin; }
  int64_t rejected_length() const { return rejected_end - rejected_begin; }
  int64_t shared_length() const { return chosen_length() < rejected_length() ? chosen_length() : rejected_length(); }
};

Answers answers_of(const int32_t *answer_begin, int64_t pair) {
  return {answer_begin[2 * pair], answer_begin[2 * pair + 1], answer_begin[2 * pair + 2]};
}

double plain_sum(const float *x, int64_t begin, int64_t end) {
  double total = 0;
  for (int64_t n = begin; n < end; ++n) total += x[n];
  return total;
}

double weighted_sum(const float *x, int64_t begin, int64_t end, int64_t shared, double ld_alpha) {
  const int64_t tail = begin + shared;
  const double total = plain_sum(x, begin, tail);
  return tail < end ? total + ld_alpha * plain_sum(x, tail, end) : total;
}

double at_least_one(int64_t length) {
  return length < 1 ? 1.0 : static_cast<double>(length);
}

/** exp(mean over an answer of (log_prob - log_sum_square)). */
double answer_weight(const float *log_prob, const float *log_sum_square, int64_t begin, int64_t end) {
  double total = 0;
  for (int64_t n = begin; n < end; ++n) total += static_cast<double>(log_prob[n]) - static_cast<double>(log_sum_square[n]);
  return std::exp(total / at_least_one(end - begin));
}

/**
 * Sorts the indices order(0) ... order(count - 1) by key, equal keys by index. Heapsort: no memory, and no template of the standard
 * library that would be shared between instruction sets.
 */
template <class Order, class Key>
void sort_by_key(int64_t count, const Order &order, const Key &key) {
  const auto less = [&](int32_t a, int32_t b) { return key(a) < key(b) || (key(a) == key(b) && a < b); };
  const auto sift_down = [&](int64_t root, int64_t end) {
    const int32_t moved = order(root);
    for (;;) {
      int64_t child = 2 * root + 1;
      if (child >= end) break;
      if (child + 1 < end && less(order(child), order(child + 1))) ++child;
      if (!less(moved, order(child))) break;
      order(root) = order(child);
      root = child;
    }
    order(root) = moved;
  };
  for (int64_t root = count / 2 - 1; root >= 0; --root) sift_down(root, count);
  for (int64_t end = count - 1; end > 0; --end) {
    const int32_t largest_index = order(0);
    order(0) = order(end);
    order(end) = largest_index;
    sift_down(0, end);
  }
}

void add_rank_losses(PairState *pairs, int64_t begin, int64_t end, int loss, double weight, const float *pair_scale,
                     const gatun_preference_options &options) {
  const bool paired = loss == GATUN_LOSS_AOT;
  const auto first_key = [&](int32_t p) {
    const PairState &s = pairs[p];
    return paired ? s.policy_chosen - s.policy_rejected : s.policy_chosen - s.reference_chosen;
  };
  const auto second_key = [&](int32_t p) {
    const PairState &s = pairs[p];
    return paired ? s.reference_chosen - s.reference_rejected : s.policy_rejected - s.reference_rejected;
  };
  for (int64_t p = begin; p < end; ++p) pairs[p].first_order = pairs[p].second_order = static_cast<int32_t>(p);
  sort_by_key(
      end - begin, [&](int64_t i) -> int32_t & { return pairs[begin + i].first_order; }, first_key);
  sort_by_key(
      end - begin, [&](int64_t i) -> int32_t & { return pairs[begin + i].second_order; }, second_key);
  for (int64_t rank = begin; rank < end; ++rank) {
    const int32_t first = pairs[rank].first_order, second = pairs[rank].second_order;
    const Slope l = rank_loss(first_key(first) - second_key(second), options);
    const double scale = weight * pair_scale[first];
    pairs[first].loss += scale * l.value;
    pairs[first].d_chosen += scale * l.slope;
    pairs[paired ? first : second].d_rejected -= scale * l.slope;
  }
}

}  // namespace

int32_t preference(float *loss, float *sums, float *d_log_prob, const float *log_prob, const float *reference_log_prob, const float *log_sum_square,
                   const int32_t *answer_begin, const int32_t *group_begin, const float *pair_scale, const float *sft_scale, int64_t pairs,
                   int64_t groups, const gatun_preference_options *options_in, void *workspace, void *) {
  return guarded("preference", [&] {
    check_extent("pairs", pairs);
    check_extent("groups", groups);
    check_pointer("options", options_in);
    const gatun_preference_options &options = *options_in;
    check_options(options);
    if (pairs == 0) return;

    const Needs needs = needs_of(options);
    const double sft_weight = needs.sft_weight;
    check_pointer("loss", loss);
    check_pointer("sums", sums);
    check_pointer("answer_begin", answer_begin);
    check_pointer("pair_scale", pair_scale);
    check_pointer("workspace", workspace);
    check_begins("answer_begin", answer_begin, 2 * pairs);
    if (answer_begin[2 * pairs] > 0) {
      check_pointer("d_log_prob", d_log_prob);
      check_pointer("log_prob", log_prob);
      if (needs.reference) check_pointer("reference_log_prob", reference_log_prob);
      if (options.use_weighting != 0) check_pointer("log_sum_square", log_sum_square);
    }
    if (sft_weight != 0) check_pointer("sft_scale", sft_scale);
    if (needs.groups) {
      check_pointer("group_begin", group_begin);
      check_begins("group_begin", group_begin, groups);
      if (group_begin[0] != 0) invalid("group_begin[0] is %d, expected 0", group_begin[0]);
      if (group_begin[groups] != pairs) {
        invalid("group_begin[%lld] is %d, expected %lld, the number of pairs", static_cast<long long>(groups), group_begin[groups],
                static_cast<long long>(pairs));
      }
    }

    PairState *states = static_cast<PairState *>(workspace);
    for (int64_t p = 0; p < pairs; ++p) {
      const Answers at = answers_of(answer_begin, p);
      PairState &state = states[p];
      const int64_t shared = at.shared_length();
      const double ld_alpha = options.ld_alpha;
      state.policy_chosen = weighted_sum(log_prob, at.chosen_begin, at.rejected_begin, shared, ld_alpha);
      state.policy_rejected = weighted_sum(log_prob, at.rejected_begin, at.rejected_end, shared, ld_alpha);
      state.reference_chosen = state.reference_rejected = 0;
      if (reference_log_prob != nullptr) {
        state.reference_chosen = weighted_sum(reference_log_prob, at.chosen_begin, at.rejected_begin, shared, ld_alpha);
        state.reference_rejected = weighted_sum(reference_log_prob, at.rejected_begin, at.rejected_end, shared, ld_alpha);
      }
      sums[4 * p] = static_cast<float>(state.policy_chosen);
      sums[4 * p + 1] = static_cast<float>(state.policy_rejected);
      sums[4 * p + 2] = static_cast<float>(state.reference_chosen);
      sums[4 * p + 3] = static_cast<float>(state.reference_rejected);
      if (options.reference_free != 0) state.reference_chosen = state.reference_rejected = 0;

      double scale = pair_scale[p];
      if (options.use_weighting != 0) {
        scale *= answer_weight(log_prob, log_sum_square, at.chosen_begin, at.rejected_begin) *
                 answer_weight(log_prob, log_sum_square, at.rejected_begin, at.rejected_end);
      }
      const PairSums pair_sums = {state.policy_chosen,
                                  state.policy_rejected,
                                  state.reference_chosen,
                                  state.reference_rejected,
                                  at_least_one(at.chosen_length()),
                                  at_least_one(at.rejected_length())};
      state.loss = state.d_chosen = state.d_rejected = 0;
      for (int k = 0; k < options.num_losses; ++k) {
        if (options.losses[k] == GATUN_LOSS_SFT || loss_sorts(options.losses[k])) continue;
        const PairLoss l = pair_loss(options.losses[k], pair_sums, options);
        const double weight = scale * options.loss_weights[k];
        state.loss += weight * l.loss;
        state.d_chosen += weight * l.d_chosen;
        state.d_rejected += weight * l.d_rejected;
      }
    }

    for (int k = 0; k < options.num_losses; ++k) {
      if (!loss_sorts(options.losses[k])) continue;
      for (int64_t g = 0; g < groups; ++g) {
        add_rank_losses(states, group_begin[g], group_begin[g + 1], options.losses[k], options.loss_weights[k], pair_scale, options);
      }
    }

    for (int64_t p = 0; p < pairs; ++p) {
      const Answers at = answers_of(answer_begin, p);
      const PairState &state = states[p];
      const double d_sft = sft_weight == 0 ? 0 : -sft_weight * sft_scale[p];
      loss[p] = static_cast<float>(state.loss + (sft_weight == 0 ? 0 : d_sft * plain_sum(log_prob, at.chosen_begin, at.rejected_begin)));
      const int64_t shared = at.shared_length();
      for (int64_t n = at.chosen_begin; n < at.rejected_begin; ++n) {
        const double ld = n - at.chosen_begin < shared ? 1.0 : options.ld_alpha;
        d_log_prob[n] = static_cast<float>(ld * state.d_chosen + d_sft);
      }
      for (int64_t n = at.rejected_begin; n < at.rejected_end; ++n) {
        const double ld = n - at.rejected_begin < shared ? 1.0 : options.ld_alpha;
        d_log_prob[n] = static_cast<float>(ld * state.d_rejected);
      }
    }
  });
}

}  // namespace gatun::GATUN_ISA
