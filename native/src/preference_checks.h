/*
 * preference_checks.h: which options of `preference` can be meant, and what they need; the same for every library.
 */
#ifndef GATUN_PREFERENCE_CHECKS_H
#define GATUN_PREFERENCE_CHECKS_H

#include <cmath>

#include "checks.h"
#include "preference_math.h"

namespace gatun::GATUN_ISA {

inline void check_range(const char *name, double value, double least, double most, const char *expected) {
  if (!(value >= least && value <= most)) invalid("%s is %g, expected %s", name, value, expected);
}

inline void check_options(const gatun_preference_options &options) {
  if (options.num_losses < 1 || options.num_losses > GATUN_MAX_LOSSES) {
    invalid("num_losses is %d, expected 1 to %d", options.num_losses, GATUN_MAX_LOSSES);
  }
  if (!(options.beta > 0) || std::isinf(options.beta)) invalid("beta is %g, expected a finite number above 0", static_cast<double>(options.beta));
  if (options.f_divergence < GATUN_REVERSE_KL || options.f_divergence > GATUN_ALPHA_DIVERGENCE) {
    invalid("f_divergence is %d, expected 0 to 3", options.f_divergence);
  }
  const double e = options.label_smoothing;
  check_range("label_smoothing", e, 0, 1, "0 to 1");
  check_range("ld_alpha", options.ld_alpha, 0, 1, "0 to 1; 1 for plain sums");
  for (int k = 0; k < options.num_losses; ++k) {
    const int loss = options.losses[k];
    if (loss < GATUN_LOSS_SIGMOID || loss > GATUN_LOSS_SIMPO) invalid("losses[%d] is %d, expected 0 to 15", k, loss);
    if (!std::isfinite(options.loss_weights[k])) {
      invalid("loss_weights[%d] is %g, expected a finite number", k, static_cast<double>(options.loss_weights[k]));
    }
    if (loss == GATUN_LOSS_EXO_PAIR && !(e > 0 && e < 1)) invalid("label_smoothing is %g, expected above 0 and below 1 for exo_pair", e);
    if (loss == GATUN_LOSS_ROBUST && !(e < 0.5)) invalid("label_smoothing is %g, expected below 0.5 for robust", e);
    if (loss == GATUN_LOSS_DISCOPOP && !(options.discopop_tau > 0)) {
      invalid("discopop_tau is %g, expected above 0", static_cast<double>(options.discopop_tau));
    }
    if (options.f_divergence != GATUN_REVERSE_KL && loss != GATUN_LOSS_SFT && !loss_has_divergence(loss)) {
      invalid("f_divergence is %d but losses[%d] is %d, which has none; expected 0 (reverse_kl)", options.f_divergence, k, loss);
    }
    if (options.use_weighting != 0 && (loss_sorts(loss) || loss == GATUN_LOSS_SFT)) {
      invalid("use_weighting is set but losses[%d] is %d, which is not a loss of single pairs; expected no aot, aot_unpaired or sft", k, loss);
    }
  }
}

/** What the losses of `options` need of the arguments. */
struct Needs {
  bool reference;     // reference_log_prob
  bool groups;        // group_begin: a loss sorts
  double sft_weight;  // weight of sft_scale
};

inline Needs needs_of(const gatun_preference_options &options) {
  Needs needs = {false, false, 0};
  for (int k = 0; k < options.num_losses; ++k) {
    needs.reference = needs.reference || (loss_reads_reference(options.losses[k]) && options.reference_free == 0);
    needs.groups = needs.groups || loss_sorts(options.losses[k]);
    if (options.losses[k] == GATUN_LOSS_SFT) needs.sft_weight += static_cast<double>(options.loss_weights[k]);
  }
  return needs;
}

}  // namespace gatun::GATUN_ISA

#endif
