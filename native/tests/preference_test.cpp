/*
 * preference against the formulas written down a second time, in the plainest way and in double; gradients against central differences
 * of those formulas by every single log-prob.
 */
#include <algorithm>
#include <cmath>
#include <numeric>

#include "testing.h"

namespace gatun::testing {
namespace {

double log_sigmoid(double x) {
  return x > 0 ? -std::log1p(std::exp(-x)) : x - std::log1p(std::exp(x));
}
double sigmoid(double x) {
  return std::exp(log_sigmoid(x));
}

gatun_preference_options options_for(int loss) {
  gatun_preference_options o{};
  o.num_losses = 1;
  o.losses[0] = loss;
  o.loss_weights[0] = 1;
  o.beta = 0.125f;
  o.label_smoothing = 0.125f;
  o.discopop_tau = 0.25f;
  o.simpo_gamma = 0.5f;
  o.f_divergence = GATUN_REVERSE_KL;
  o.f_alpha = 0.5f;
  o.ld_alpha = 1;
  return o;
}

struct Batch {
  explicit Batch(uint64_t seed, int64_t num_pairs = kDetectsRaces ? 2 : 7) : pairs(num_pairs) {
    Random random(seed);
    answer_begin.push_back(0);
    for (int64_t answer = 0; answer < 2 * pairs; ++answer) answer_begin.push_back(answer_begin.back() + 1 + random.below(5));
    for (int32_t n = 0; n < answer_begin.back(); ++n) {
      // Neighbouring bf16-sized values would tie in a sort; these are all different.
      policy.push_back(static_cast<float>(random.uniform(-3, -0.1)));
      reference.push_back(static_cast<float>(random.uniform(-3, -0.1)));
      log_sum_square.push_back(static_cast<float>(random.uniform(-4, -0.5)));
    }
    for (int64_t p = 0; p < pairs; ++p) {
      pair_scale.push_back(static_cast<float>(random.uniform(0.2, 1)));
      sft_scale.push_back(static_cast<float>(random.uniform(0.2, 1)));
    }
    group_begin = {0, static_cast<int32_t>(pairs / 2), static_cast<int32_t>(pairs)};
  }
  int64_t pairs;
  std::vector<int32_t> answer_begin, group_begin;
  std::vector<float> policy, reference, log_sum_square, pair_scale, sft_scale;
};

double divergence(double u, const gatun_preference_options &o) {
  switch (o.f_divergence) {
    case GATUN_FORWARD_KL:
      return 1 - std::exp(-u);
    case GATUN_JS_DIVERGENCE:
      return std::log(2) + log_sigmoid(u);
    case GATUN_ALPHA_DIVERGENCE: {
      const double power = static_cast<double>(o.f_alpha) - 1;
      if (std::abs(power) < 1e-6) return u;
      return (std::exp(std::min(power * u, 80.0)) - 1) / power;
    }
    default:
      return u;
  }
}

/** The sum over a step of loss[p], from given log-probs. `weights`: log-probs that the weights of WPO come from (constants). */
double total_loss(const std::vector<double> &policy, const std::vector<double> &weights, const Batch &batch, const gatun_preference_options &o,
                  std::vector<double> *losses = nullptr) {
  const double beta = o.beta, e = o.label_smoothing;
  std::vector<double> result(batch.pairs), pw(batch.pairs), pl(batch.pairs), rw(batch.pairs), rl(batch.pairs);
  for (int64_t p = 0; p < batch.pairs; ++p) {
    const int32_t c = batch.answer_begin[2 * p], r = batch.answer_begin[2 * p + 1], end = batch.answer_begin[2 * p + 2];
    const int32_t shared = std::min(r - c, end - r);
    for (int32_t n = c; n < end; ++n) {
      const bool chosen = n < r;
      const double ld = n - (chosen ? c : r) < shared ? 1 : o.ld_alpha;
      (chosen ? pw : pl)[p] += ld * policy[n];
      (chosen ? rw : rl)[p] += o.reference_free ? 0 : ld * batch.reference[n];
    }
  }
  for (int k = 0; k < o.num_losses; ++k) {
    for (int64_t p = 0; p < batch.pairs; ++p) {
      const int32_t c = batch.answer_begin[2 * p], r = batch.answer_begin[2 * p + 1], end = batch.answer_begin[2 * p + 2];
      const double a = pw[p] - rw[p], b = pl[p] - rl[p], nw = r - c, nl = end - r;
      const double h = beta * (divergence(a, o) - divergence(b, o));
      const double normed = divergence(a, o) / nw - divergence(b, o) / nl;
      const double simpo = beta * (pw[p] / nw - pl[p] / nl) - o.simpo_gamma;
      double loss = 0;
      switch (o.losses[k]) {
        case GATUN_LOSS_SIGMOID:
          loss = -(1 - e) * log_sigmoid(h) - e * log_sigmoid(-h);
          break;
        case GATUN_LOSS_HINGE:
          loss = std::max(0.0, 1 - h);
          break;
        case GATUN_LOSS_IPO:
          loss = std::pow(normed - 1 / (2 * beta), 2);
          break;
        case GATUN_LOSS_EXO_PAIR:
          loss = sigmoid(h) * (log_sigmoid(h) - std::log(1 - e)) + sigmoid(-h) * (log_sigmoid(-h) - std::log(e));
          break;
        case GATUN_LOSS_NCA_PAIR:
          loss = -log_sigmoid(beta * a) - 0.5 * log_sigmoid(-beta * a) - 0.5 * log_sigmoid(-beta * b);
          break;
        case GATUN_LOSS_ROBUST:
          loss = (-(1 - e) * log_sigmoid(h) + e * log_sigmoid(-h)) / (1 - 2 * e);
          break;
        case GATUN_LOSS_BCO_PAIR:
          loss = -log_sigmoid(beta * a) - log_sigmoid(-beta * b);
          break;
        case GATUN_LOSS_SPPO_HARD:
          loss = std::pow(a - 0.5 / beta, 2) + std::pow(b + 0.5 / beta, 2);
          break;
        case GATUN_LOSS_APO_ZERO:
          loss = 1 - sigmoid(beta * a) + sigmoid(beta * b);
          break;
        case GATUN_LOSS_APO_DOWN:
          loss = sigmoid(beta * a) + 1 - sigmoid(beta * (a - b));
          break;
        case GATUN_LOSS_DISCOPOP: {
          const double m = sigmoid(h / o.discopop_tau);
          loss = -log_sigmoid(h) * (1 - m) + std::exp(-h) * m;
          break;
        }
        case GATUN_LOSS_SFT:
          for (int32_t n = c; n < r; ++n) loss -= policy[n];
          break;
        case GATUN_LOSS_SIGMOID_NORM:
          loss = -log_sigmoid(beta * normed);
          break;
        case GATUN_LOSS_SIMPO:
          loss = -(1 - e) * log_sigmoid(simpo) - e * log_sigmoid(-simpo);
          break;
        default:
          continue;
      }
      double weight = 1;
      if (o.use_weighting) {
        for (const auto &[from, to] : {std::pair{c, r}, std::pair{r, end}}) {
          double sum = 0;
          for (int32_t n = from; n < to; ++n) sum += weights[n] - batch.log_sum_square[n];
          weight *= std::exp(sum / (to - from));
        }
      }
      result[p] += (o.losses[k] == GATUN_LOSS_SFT ? batch.sft_scale[p] : batch.pair_scale[p]) * weight * o.loss_weights[k] * loss;
    }
    if (o.losses[k] != GATUN_LOSS_AOT && o.losses[k] != GATUN_LOSS_AOT_UNPAIRED) continue;
    const bool paired = o.losses[k] == GATUN_LOSS_AOT;
    for (size_t g = 0; g + 1 < batch.group_begin.size(); ++g) {
      std::vector<int> first(batch.group_begin[g + 1] - batch.group_begin[g]), second;
      std::iota(first.begin(), first.end(), batch.group_begin[g]);
      second = first;
      const auto first_key = [&](int p) { return paired ? pw[p] - pl[p] : pw[p] - rw[p]; };
      const auto second_key = [&](int p) { return paired ? rw[p] - rl[p] : pl[p] - rl[p]; };
      std::stable_sort(first.begin(), first.end(), [&](int x, int y) { return first_key(x) < first_key(y); });
      std::stable_sort(second.begin(), second.end(), [&](int x, int y) { return second_key(x) < second_key(y); });
      for (size_t i = 0; i < first.size(); ++i) {
        const double delta = beta * (first_key(first[i]) - second_key(second[i]));
        result[first[i]] += batch.pair_scale[first[i]] * o.loss_weights[k] * (-(1 - e) * log_sigmoid(delta) - e * log_sigmoid(-delta));
      }
    }
  }
  if (losses != nullptr) *losses = result;
  return std::accumulate(result.begin(), result.end(), 0.0);
}

struct Output {
  std::vector<float> loss, sums, d_log_prob;
};

Output run(const gatun_kernels &k, const Batch &batch, const gatun_preference_options &o) {
  Output out;
  const int64_t predictions = batch.answer_begin.back();
  Array loss(GATUN_F32, batch.pairs), sums(GATUN_F32, 4 * batch.pairs), d(GATUN_F32, predictions), workspace = workspace_for(k, predictions, 1);
  CHECK_OK(k.preference(loss.floats(), sums.floats(), d.floats(), batch.policy.data(), batch.reference.data(), batch.log_sum_square.data(),
                        batch.answer_begin.data(), batch.group_begin.data(), batch.pair_scale.data(), batch.sft_scale.data(), batch.pairs,
                        static_cast<int64_t>(batch.group_begin.size()) - 1, &o, workspace.data(), nullptr));
  CHECK(loss.intact() && sums.intact() && d.intact() && workspace.intact(), "written beyond an end");
  out.loss.assign(loss.floats(), loss.floats() + loss.count());
  out.sums.assign(sums.floats(), sums.floats() + sums.count());
  out.d_log_prob.assign(d.floats(), d.floats() + d.count());
  return out;
}

void check_against_formulas(const Batch &batch, const gatun_preference_options &o, const char *what) {
  const std::vector<double> policy(batch.policy.begin(), batch.policy.end());
  std::vector<double> losses;
  total_loss(policy, policy, batch, o, &losses);
  for (const Table &table : tables()) {
    const Output out = run(*table.kernels, batch, o);
    for (int64_t p = 0; p < batch.pairs; ++p) CHECK_NEAR(out.loss[p], losses[p], 1e-6 * (1 + std::abs(losses[p])), what, p);
    for (size_t n = 0; n < policy.size(); ++n) {
      const double h = 1e-5;  // cubic error h^2, rounding 1e-16 / h
      std::vector<double> up = policy, down = policy;
      up[n] += h;
      down[n] -= h;
      const double difference = (total_loss(up, policy, batch, o) - total_loss(down, policy, batch, o)) / (2 * h);
      CHECK_NEAR(out.d_log_prob[n], difference, 1e-6 * (1 + std::abs(difference)), what, n);
    }
  }
}

TEST(every_loss_and_its_gradient) {
  for (int loss = GATUN_LOSS_SIGMOID; loss <= GATUN_LOSS_SIMPO; ++loss) {
    char what[64];
    std::snprintf(what, sizeof what, "loss %d", loss);
    for (const uint64_t seed : {17, 18}) {
      gatun_preference_options o = options_for(loss);
      check_against_formulas(Batch(seed), o, what);
      if (loss != GATUN_LOSS_EXO_PAIR) {
        o.label_smoothing = 0;
        check_against_formulas(Batch(seed), o, what);
      }
      o.ld_alpha = 0.25f;
      o.label_smoothing = 0.0625f;
      o.beta = 0.75f;
      check_against_formulas(Batch(seed), o, what);
      o.reference_free = 1;
      check_against_formulas(Batch(seed), o, what);
    }
  }
}

TEST(every_divergence_and_its_gradient) {
  for (const int loss : {GATUN_LOSS_SIGMOID, GATUN_LOSS_HINGE, GATUN_LOSS_IPO, GATUN_LOSS_EXO_PAIR, GATUN_LOSS_ROBUST, GATUN_LOSS_DISCOPOP,
                         GATUN_LOSS_SFT, GATUN_LOSS_SIGMOID_NORM}) {
    for (const int f : {GATUN_REVERSE_KL, GATUN_FORWARD_KL, GATUN_JS_DIVERGENCE, GATUN_ALPHA_DIVERGENCE}) {
      for (const float alpha : {0.5f, 1.0f, 1.75f}) {
        gatun_preference_options o = options_for(loss);
        o.f_divergence = f;
        o.f_alpha = alpha;
        char what[64];
        std::snprintf(what, sizeof what, "loss %d, divergence %d", loss, f);
        check_against_formulas(Batch(19), o, what);
      }
    }
  }
}

TEST(weighting_multiplies_the_loss_and_is_constant_to_the_gradient) {
  for (int loss = GATUN_LOSS_SIGMOID; loss <= GATUN_LOSS_SIMPO; ++loss) {
    if (loss == GATUN_LOSS_SFT || loss == GATUN_LOSS_AOT || loss == GATUN_LOSS_AOT_UNPAIRED) continue;
    gatun_preference_options o = options_for(loss);
    o.use_weighting = 1;
    o.ld_alpha = 0.5f;
    char what[64];
    std::snprintf(what, sizeof what, "weighted loss %d", loss);
    check_against_formulas(Batch(20), o, what);
  }
}

TEST(several_losses_add_up) {
  gatun_preference_options o = options_for(GATUN_LOSS_SIGMOID);
  o.num_losses = 5;
  const int losses[] = {GATUN_LOSS_SIGMOID, GATUN_LOSS_SFT, GATUN_LOSS_AOT, GATUN_LOSS_BCO_PAIR, GATUN_LOSS_AOT_UNPAIRED};
  const float weights[] = {0.8f, 0.3f, 1.5f, -0.2f, 0.6f};
  std::copy(losses, losses + 5, o.losses);
  std::copy(weights, weights + 5, o.loss_weights);
  check_against_formulas(Batch(21), o, "sum of losses");
  check_against_formulas(Batch(22, 1), o, "sum of losses of one pair");
  check_against_formulas(Batch(23, 40), o, "sum of losses of 40 pairs");
}

/* Policy and reference alike: the values that a run checks at step 0 (TRL 1.13's losses at beta 0.1). */
TEST(losses_at_step_0_have_their_closed_form) {
  struct Expected {
    int loss;
    double value;
  };
  const double e = 1e-3f;
  for (const Expected &expected : {Expected{GATUN_LOSS_SIGMOID, std::log(2)},
                                   {GATUN_LOSS_HINGE, 1},
                                   {GATUN_LOSS_IPO, 25},
                                   {GATUN_LOSS_EXO_PAIR, -0.5 * std::log(4 * e * (1 - e))},
                                   {GATUN_LOSS_NCA_PAIR, 2 * std::log(2)},
                                   {GATUN_LOSS_ROBUST, std::log(2)},
                                   {GATUN_LOSS_BCO_PAIR, 2 * std::log(2)},
                                   {GATUN_LOSS_SPPO_HARD, 50},
                                   {GATUN_LOSS_AOT, std::log(2)},
                                   {GATUN_LOSS_AOT_UNPAIRED, -1},
                                   {GATUN_LOSS_APO_ZERO, 1},
                                   {GATUN_LOSS_APO_DOWN, 1},
                                   {GATUN_LOSS_DISCOPOP, 0.5 * std::log(2) + 0.5},
                                   {GATUN_LOSS_SIGMOID_NORM, std::log(2)}}) {
    Batch batch(24);
    batch.reference = batch.policy;
    batch.pair_scale.assign(batch.pairs, 1);
    gatun_preference_options o = options_for(expected.loss);
    o.beta = 0.1f;
    o.label_smoothing = 1e-3f;
    for (const Table &table : tables()) {
      const Output out = run(*table.kernels, batch, o);
      const double want = expected.value < 0 ? std::log(2) : expected.value;
      for (int64_t p = 0; p < batch.pairs; ++p) CHECK_NEAR(out.loss[p], want, 1e-6 * want, "loss", p);
    }
  }
}

TEST(sums_are_plain_or_length_desensitized) {
  Batch batch(25, 2);
  batch.answer_begin = {0, 3, 4, 5, 8};
  batch.policy = {-1, -2, -4, -8, -16, -32, -64, -128};
  batch.reference = {-1, -1, -1, -1, -1, -1, -1, -1};
  batch.group_begin = {0, 2};
  gatun_preference_options o = options_for(GATUN_LOSS_SIGMOID);
  o.ld_alpha = 0.5f;
  o.reference_free = 1;  // the loss does not read the reference, the sums still do
  for (const Table &table : tables()) {
    const Output out = run(*table.kernels, batch, o);
    const float want[] = {-1 - 3, -8, -1 - 1, -1, -16, -32 - 96, -1, -1 - 1};
    for (int i = 0; i < 8; ++i) CHECK_NEAR(out.sums[i], want[i], 0, "sums", i);
  }
}

TEST(losses_stay_finite_at_extreme_margins) {
  for (int loss = GATUN_LOSS_SIGMOID; loss <= GATUN_LOSS_SIMPO; ++loss) {
    for (const float margin : {-1e4f, 1e4f}) {
      Batch batch(26, 1);
      batch.answer_begin = {0, 1, 2};
      batch.policy = {-1, -1 - margin};
      batch.reference = {-1, -1};
      batch.group_begin = {0, 1};
      gatun_preference_options o = options_for(loss);
      for (const Table &table : tables()) {
        const Output out = run(*table.kernels, batch, o);
        CHECK(std::isfinite(out.loss[0]) && std::isfinite(out.d_log_prob[0]) && std::isfinite(out.d_log_prob[1]),
              "loss %d at margin %g is %g, %g, %g", loss, static_cast<double>(margin), static_cast<double>(out.loss[0]),
              static_cast<double>(out.d_log_prob[0]), static_cast<double>(out.d_log_prob[1]));
      }
    }
  }
}

TEST(equal_values_are_sorted_by_pair) {
  Batch batch(27, 6);
  batch.answer_begin = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  batch.policy.assign(12, -1);
  for (int n = 0; n < 12; ++n) batch.reference[n] = static_cast<float>(-n % 5);
  batch.reference.resize(12);
  batch.policy.resize(12);
  batch.group_begin = {0, 6};
  batch.pair_scale.assign(6, 1);
  const gatun_preference_options o = options_for(GATUN_LOSS_AOT);
  std::vector<double> losses;
  const std::vector<double> policy(12, -1);
  total_loss(policy, policy, batch, o, &losses);
  for (const Table &table : tables()) {
    const Output out = run(*table.kernels, batch, o);
    for (int p = 0; p < 6; ++p) CHECK_NEAR(out.loss[p], losses[p], 1e-6, "loss", p);
  }
}

TEST(a_chunk_of_pairs_touches_its_own_predictions_alone) {
  Batch batch(30, 4);
  batch.group_begin = {0, 2};
  const int64_t skipped = 2;
  const gatun_preference_options o = options_for(GATUN_LOSS_SIGMOID);
  for (const Table &table : tables()) {
    Batch all = batch;
    all.group_begin = {0, 4};
    const Output whole = run(*table.kernels, all, o);
    const int64_t predictions = batch.answer_begin.back();
    Array loss(GATUN_F32, 2), sums(GATUN_F32, 8), d(GATUN_F32, predictions), workspace = workspace_for(*table.kernels, predictions, 1);
    CHECK_OK(table.kernels->preference(loss.floats(), sums.floats(), d.floats(), batch.policy.data(), batch.reference.data(), nullptr,
                                       batch.answer_begin.data() + 2 * skipped, batch.group_begin.data(), batch.pair_scale.data() + skipped, nullptr,
                                       2, 1, &o, workspace.data(), nullptr));
    for (int64_t p = 0; p < 2; ++p) CHECK_NEAR(loss[p], whole.loss[skipped + p], 0, "loss", p);
    for (int64_t n = 0; n < predictions; ++n) {
      CHECK_NEAR(d[n], n < batch.answer_begin[2 * skipped] ? -77 : whole.d_log_prob[n], 0, "d_log_prob", n);
    }
  }
}

TEST(answers_may_be_empty_and_references_absent_where_unread) {
  Batch batch(28, 2);
  batch.answer_begin = {0, 0, 2, 3, 3};
  batch.policy = {-1, -2, -3};
  const float want_sums[] = {0, -3, 0, 0, -3, 0, 0, 0};
  gatun_preference_options o = options_for(GATUN_LOSS_SIMPO);
  for (const Table &table : tables()) {
    Array loss(GATUN_F32, 2), sums(GATUN_F32, 8), d(GATUN_F32, 3), workspace = workspace_for(*table.kernels, 3, 1);
    CHECK_OK(table.kernels->preference(loss.floats(), sums.floats(), d.floats(), batch.policy.data(), nullptr, nullptr, batch.answer_begin.data(),
                                       nullptr, batch.pair_scale.data(), nullptr, 2, 0, &o, workspace.data(), nullptr));
    for (int i = 0; i < 8; ++i) CHECK_NEAR(sums[i], want_sums[i], 0, "sums", i);
    for (int p = 0; p < 2; ++p) CHECK(std::isfinite(loss[p]), "loss %g", loss[p]);
  }
}

TEST(preference_refuses_what_it_cannot_mean) {
  Batch batch(29);
  for (const Table &table : tables()) {
    Array out(GATUN_F32, 1000), workspace = workspace_for(*table.kernels, 1000, 1);
    const auto status = [&](const gatun_preference_options &o, const float *reference, const int32_t *groups) {
      return table.kernels->preference(out.floats(), out.floats() + 100, out.floats() + 200, batch.policy.data(), reference, nullptr,
                                       batch.answer_begin.data(), groups, batch.pair_scale.data(), nullptr, batch.pairs, 2, &o, workspace.data(),
                                       nullptr);
    };
    const auto with = [](int loss, const auto &change) {
      gatun_preference_options o = options_for(loss);
      change(o);
      return o;
    };
    const float *reference = batch.reference.data();
    const int32_t *groups = batch.group_begin.data();
    using Options = gatun_preference_options;
    const auto same = [](Options &) {};
    CHECK_INVALID(status(options_for(GATUN_LOSS_SIGMOID), nullptr, groups), "reference_log_prob is NULL");
    CHECK_INVALID(status(options_for(GATUN_LOSS_SFT), reference, groups), "sft_scale is NULL");
    CHECK_INVALID(status(options_for(GATUN_LOSS_AOT), reference, nullptr), "group_begin is NULL");
    CHECK_INVALID(status(with(99, same), reference, groups), "losses[0] is 99");
    CHECK_INVALID(status(with(0, [](Options &o) { o.num_losses = 17; }), reference, groups), "num_losses is 17");
    CHECK_INVALID(status(with(0, [](Options &o) { o.beta = 0; }), reference, groups), "beta is 0");
    CHECK_INVALID(status(with(0, [](Options &o) { o.beta = NAN; }), reference, groups), "beta is");
    CHECK_INVALID(status(with(0, [](Options &o) { o.ld_alpha = 2; }), reference, groups), "ld_alpha is 2");
    CHECK_INVALID(status(with(0, [](Options &o) { o.loss_weights[0] = INFINITY; }), reference, groups), "loss_weights[0] is inf");
    CHECK_INVALID(status(with(0, [](Options &o) { o.use_weighting = 1; }), reference, groups), "log_sum_square is NULL");
    CHECK_INVALID(status(with(0, [](Options &o) { o.f_divergence = 7; }), reference, groups), "f_divergence is 7");
    CHECK_INVALID(status(with(GATUN_LOSS_EXO_PAIR, [](Options &o) { o.label_smoothing = 0; }), reference, groups), "exo_pair");
    CHECK_INVALID(status(with(GATUN_LOSS_ROBUST, [](Options &o) { o.label_smoothing = 0.5f; }), reference, groups), "below 0.5 for robust");
    CHECK_INVALID(status(with(GATUN_LOSS_DISCOPOP, [](Options &o) { o.discopop_tau = 0; }), reference, groups), "discopop_tau");
    CHECK_INVALID(status(with(GATUN_LOSS_NCA_PAIR, [](Options &o) { o.f_divergence = 1; }), reference, groups), "which has none");
    CHECK_INVALID(status(with(GATUN_LOSS_AOT, [](Options &o) { o.use_weighting = 1; }), reference, groups), "use_weighting");
    if constexpr (kChecksIndices) {
      const int32_t short_groups[] = {0, 2, 5};
      CHECK_INVALID(status(options_for(GATUN_LOSS_AOT), reference, short_groups), "group_begin[2] is 5, expected 7");
    }
  }
}

}  // namespace
}  // namespace gatun::testing
