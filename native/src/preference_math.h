/*
 * preference_math.h: the preference losses of one pair and their derivatives, in double. Plain inline functions on plain structs, so that
 * host and device code can include them: before including, define GATUN_ISA (the namespace) and, for device code, GATUN_HOST_DEVICE.
 *
 * Notation: a = log pi(chosen) - log ref(chosen), b = the same of rejected, h = beta (a - b); with an f-divergence a and b are
 * replaced by f'(e^a), f'(e^b) in h and in the length-normalized scores. sp(x) = log(1 + e^x), s(x) = 1 / (1 + e^-x), e = label_smoothing.
 * Formulas follow TRL 1.13's DPOTrainer._compute_loss, except where a comment says otherwise.
 */
#ifndef GATUN_PREFERENCE_MATH_H
#define GATUN_PREFERENCE_MATH_H

#include <math.h>

#include "gatun_kernels.h"

#ifndef GATUN_HOST_DEVICE
#define GATUN_HOST_DEVICE
#endif

namespace gatun::GATUN_ISA {

/** Sums of one pair's log-probs (after ld_alpha) and the lengths of its answers, at least 1. Reference sums are 0 if reference_free. */
struct PairSums {
  double policy_chosen;
  double policy_rejected;
  double reference_chosen;
  double reference_rejected;
  double chosen_length;
  double rejected_length;
};

/** A loss, with its derivatives by the policy's two sums. */
struct PairLoss {
  double loss;
  double d_chosen;
  double d_rejected;
};

/** A function's value and derivative. */
struct Slope {
  double value;
  double slope;
};

/** log(1 + e^x) without overflow. */
GATUN_HOST_DEVICE inline double softplus(double x) {
  return (x > 0 ? x : 0) + log1p(::exp(-fabs(x)));
}

/** 1 / (1 + e^-x) without overflow. */
GATUN_HOST_DEVICE inline double logistic(double x) {
  const double e = ::exp(-fabs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

/** s'(x) = s(x) s(-x). */
GATUN_HOST_DEVICE inline double logistic_slope(double x) {
  return logistic(x) * logistic(-x);
}

/** (1 - e) sp(-x) + e sp(x). */
GATUN_HOST_DEVICE inline Slope smoothed_softplus(double x, double e) {
  return {(1 - e) * softplus(-x) + e * softplus(x), -(1 - e) * logistic(-x) + e * logistic(x)};
}

/** f'(e^u) and its derivative by u (Wang et al., arXiv 2309.16240). */
GATUN_HOST_DEVICE inline Slope divergence_score(double u, int divergence, double alpha) {
  switch (divergence) {
    case GATUN_FORWARD_KL:  // 1 - e^-u
      return {-expm1(-u), ::exp(-u)};
    case GATUN_JS_DIVERGENCE:  // log 2 + log s(u)
      return {0.69314718055994530942 - softplus(-u), logistic(-u)};
    case GATUN_ALPHA_DIVERGENCE: {  // (e^((alpha - 1) u) - 1) / (alpha - 1), the exponent at most 80; u where alpha is 1
      const double power = alpha - 1;
      if (fabs(power) < 1e-6) return {u, 1};
      const double exponent = power * u;
      if (exponent > 80) return {expm1(80.0) / power, 0};
      return {expm1(exponent) / power, ::exp(exponent)};
    }
    default:  // GATUN_REVERSE_KL
      return {u, 1};
  }
}

/** Whether an f-divergence other than reverse KL changes this loss. */
GATUN_HOST_DEVICE inline bool loss_has_divergence(int loss) {
  return loss == GATUN_LOSS_SIGMOID || loss == GATUN_LOSS_HINGE || loss == GATUN_LOSS_IPO || loss == GATUN_LOSS_EXO_PAIR ||
         loss == GATUN_LOSS_ROBUST || loss == GATUN_LOSS_DISCOPOP || loss == GATUN_LOSS_SIGMOID_NORM;
}

/** Whether the loss compares sorted values of a group of pairs. */
GATUN_HOST_DEVICE inline bool loss_sorts(int loss) {
  return loss == GATUN_LOSS_AOT || loss == GATUN_LOSS_AOT_UNPAIRED;
}

GATUN_HOST_DEVICE inline bool loss_reads_reference(int loss) {
  return loss != GATUN_LOSS_SFT && loss != GATUN_LOSS_SIMPO;
}

/** A loss of the margin h = beta (score of chosen - score of rejected), and its derivative by h. */
GATUN_HOST_DEVICE inline Slope margin_loss(int loss, double h, const gatun_preference_options &options) {
  const double e = options.label_smoothing;
  switch (loss) {
    case GATUN_LOSS_HINGE:  // max(0, 1 - h); at the kink 0, as torch.relu
      return {h < 1 ? 1 - h : 0, h < 1 ? -1.0 : 0.0};
    case GATUN_LOSS_EXO_PAIR: {  // q (log q - log(1 - e)) + (1 - q) (log(1 - q) - log e), q = s(h)
      const double q = logistic(h), p = logistic(-h);
      return {q * (-softplus(-h) - log1p(-e)) + p * (-softplus(h) - ::log(e)), q * p * (h - (log1p(-e) - ::log(e)))};
    }
    case GATUN_LOSS_ROBUST:  // [(1 - e) sp(-h) - e sp(h)] / (1 - 2e)
      return {((1 - e) * softplus(-h) - e * softplus(h)) / (1 - 2 * e), -((1 - e) * logistic(-h) + e * logistic(h)) / (1 - 2 * e)};
    case GATUN_LOSS_DISCOPOP: {  // (1 - m) sp(-h) + m e^-h, m = s(h / tau); m e^-h as one exponential, which cannot overflow to inf * 0
      const double tau = options.discopop_tau;
      const double m = logistic(h / tau), rest = logistic(-h / tau);
      const double exponential = ::exp(-h - softplus(-h / tau));
      return {rest * softplus(-h) + exponential, -rest * logistic(-h) - exponential + rest / tau * (exponential - m * softplus(-h))};
    }
    default:  // GATUN_LOSS_SIGMOID: (1 - e) sp(-h) + e sp(h). TRL 1.13 ignores e here; this is cDPO (Mitchell's note, 2023).
      return smoothed_softplus(h, e);
  }
}

/** A loss that stands alone for each pair: any but sft and those that sort. */
GATUN_HOST_DEVICE inline PairLoss pair_loss(int loss, const PairSums &sums, const gatun_preference_options &options) {
  const double beta = options.beta;
  const double a = sums.policy_chosen - sums.reference_chosen;
  const double b = sums.policy_rejected - sums.reference_rejected;
  switch (loss) {
    case GATUN_LOSS_NCA_PAIR:  // sp(-beta a) + sp(beta a) / 2 + sp(beta b) / 2
      return {softplus(-beta * a) + 0.5 * softplus(beta * a) + 0.5 * softplus(beta * b), beta * (0.5 * logistic(beta * a) - logistic(-beta * a)),
              0.5 * beta * logistic(beta * b)};
    case GATUN_LOSS_BCO_PAIR:  // sp(-beta a) + sp(beta b)
      return {softplus(-beta * a) + softplus(beta * b), -beta * logistic(-beta * a), beta * logistic(beta * b)};
    case GATUN_LOSS_SPPO_HARD: {  // (a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2
      const double chosen = a - 0.5 / beta, rejected = b + 0.5 / beta;
      return {chosen * chosen + rejected * rejected, 2 * chosen, 2 * rejected};
    }
    case GATUN_LOSS_APO_ZERO:  // 1 - s(beta a) + s(beta b)
      return {logistic(-beta * a) + logistic(beta * b), -beta * logistic_slope(beta * a), beta * logistic_slope(beta * b)};
    case GATUN_LOSS_APO_DOWN: {  // s(beta a) + 1 - s(beta (a - b))
      const double h = beta * (a - b);
      return {logistic(beta * a) + logistic(-h), beta * (logistic_slope(beta * a) - logistic_slope(h)), beta * logistic_slope(h)};
    }
    case GATUN_LOSS_SIMPO: {  // smoothed sp of beta (mean chosen - mean rejected) - gamma, as TRL's experimental CPOTrainer
      const double margin = sums.policy_chosen / sums.chosen_length - sums.policy_rejected / sums.rejected_length;
      const Slope l = smoothed_softplus(beta * margin - options.simpo_gamma, options.label_smoothing);
      return {l.value, beta * l.slope / sums.chosen_length, -beta * l.slope / sums.rejected_length};
    }
    default:
      break;
  }
  const Slope chosen = divergence_score(a, options.f_divergence, options.f_alpha);
  const Slope rejected = divergence_score(b, options.f_divergence, options.f_alpha);
  if (loss == GATUN_LOSS_IPO || loss == GATUN_LOSS_SIGMOID_NORM) {
    const double delta = chosen.value / sums.chosen_length - rejected.value / sums.rejected_length;
    Slope l;
    if (loss == GATUN_LOSS_IPO) {  // (delta - 1 / (2 beta))^2
      const double residual = delta - 1 / (2 * beta);
      l = {residual * residual, 2 * residual};
    } else {  // sp(-beta delta)
      l = {softplus(-beta * delta), -beta * logistic(-beta * delta)};
    }
    return {l.value, l.slope * chosen.slope / sums.chosen_length, -l.slope * rejected.slope / sums.rejected_length};
  }
  const Slope l = margin_loss(loss, beta * (chosen.value - rejected.value), options);
  return {l.value, beta * l.slope * chosen.slope, -beta * l.slope * rejected.slope};
}

/** aot and aot_unpaired: the loss of two values of equal rank, and its derivative by their difference. */
GATUN_HOST_DEVICE inline Slope rank_loss(double difference, const gatun_preference_options &options) {
  const Slope l = smoothed_softplus(options.beta * difference, options.label_smoothing);
  return {l.value, options.beta * l.slope};
}

}  // namespace gatun::GATUN_ISA

#endif
