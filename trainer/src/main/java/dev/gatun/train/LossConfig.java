package dev.gatun.train;

import dev.gatun.report.EffectiveConfig;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What is minimized: a weighted sum of preference losses, and the reference they compare with.
 * Formulas in docs/losses.md.
 *
 * @param lossType the losses, each once
 * @param lossWeights their weights, in the same order; empty: all 1
 * @param beta strength of the pull towards the reference; tau of {@code ipo}
 * @param labelSmoothing probability that a label is flipped; epsilon of {@code exo_pair}
 * @param fDivergenceType divergence between policy and reference
 * @param fAlphaDivergenceCoef alpha of {@link FDivergence#ALPHA_DIVERGENCE}
 * @param ldAlpha LD-DPO (arXiv:2409.06411): weight of the log-probs beyond the shorter answer's
 *     length, for policy and reference; null: off
 * @param useWeighting WPO (arXiv:2406.11827): weigh a pair by its answers' probabilities
 * @param discopopTau temperature of {@code discopop}
 * @param simpoGamma target margin of {@code simpo}
 * @param referenceFree reference log-probs count as 0 in the loss
 * @param syncRefModel TR-DPO (arXiv:2404.09656): mix the policy into the reference now and then
 * @param refModelSyncSteps optimizer steps between two such mixes
 * @param refModelMixupAlpha share of the policy in a mix
 * @param precomputeRefLogProbs score the reference once before training instead of keeping it
 * @param referenceStore where the reference's log-probs are kept for later runs
 */
public record LossConfig(
    List<LossType> lossType,
    List<Double> lossWeights,
    double beta,
    double labelSmoothing,
    FDivergence fDivergenceType,
    double fAlphaDivergenceCoef,
    @Nullable Double ldAlpha,
    boolean useWeighting,
    double discopopTau,
    double simpoGamma,
    boolean referenceFree,
    boolean syncRefModel,
    int refModelSyncSteps,
    double refModelMixupAlpha,
    boolean precomputeRefLogProbs,
    ReferenceStoreFolder referenceStore)
    implements EffectiveConfig.Section {
  static final double DEFAULT_BETA = 0.1;
  static final double DEFAULT_ALPHA = 0.5;
  static final double DEFAULT_TAU = 0.05;
  static final double DEFAULT_GAMMA = 0.5;
  static final int DEFAULT_SYNC_STEPS = 512;
  static final double DEFAULT_MIXUP = 0.6;

  public LossConfig {
    lossType = List.copyOf(lossType);
    lossWeights = List.copyOf(lossWeights);
    checkLosses(lossType, lossWeights);
    Check.positive("beta", beta);
    Check.positive("discopop_tau", discopopTau);
    Check.notNegative("simpo_gamma", simpoGamma);
    Check.that(
        "f_alpha_divergence_coef",
        Double.isFinite(fAlphaDivergenceCoef),
        fAlphaDivergenceCoef,
        "a number");
    Check.that(
        "ld_alpha",
        ldAlpha == null || (ldAlpha >= 0 && ldAlpha <= 1),
        String.valueOf(ldAlpha),
        "between 0 and 1");
    Check.that("ref_model_sync_steps", refModelSyncSteps >= 1, refModelSyncSteps, "at least 1");
    Check.that(
        "ref_model_mixup_alpha",
        refModelMixupAlpha > 0 && refModelMixupAlpha <= 1,
        refModelMixupAlpha,
        "above 0 and at most 1");

    checkLabelSmoothing(lossType, labelSmoothing);
    checkFDivergence(lossType, fDivergenceType, fAlphaDivergenceCoef);
    boolean onlySft = lossType.equals(List.of(LossType.SFT));
    Check.acts(
        "beta",
        beta != DEFAULT_BETA,
        !onlySft,
        "loss_type sft does not read beta; add a preference loss or remove beta");
    Check.acts(
        "ld_alpha",
        ldAlpha != null,
        !onlySft,
        "loss_type sft does not read ld_alpha; add a preference loss or remove ld_alpha");
    Check.acts(
        "discopop_tau",
        discopopTau != DEFAULT_TAU,
        lossType.contains(LossType.DISCOPOP),
        "only loss_type discopop reads it; add discopop to loss_type or remove discopop_tau");
    Check.acts(
        "simpo_gamma",
        simpoGamma != DEFAULT_GAMMA,
        lossType.contains(LossType.SIMPO),
        "only loss_type simpo reads it; add simpo to loss_type or remove simpo_gamma");
    if (useWeighting) {
      List<LossType> sorted = matching(lossType, LossType::sortsMicroBatch);
      if (!sorted.isEmpty()) {
        throw new ConfigException(
            "use_weighting",
            "weighs single pairs, but loss_type %s compares sorted batches; remove one of them"
                .formatted(names(sorted)));
      }
    }
    boolean lossReadsReference = lossType.stream().anyMatch(LossType::readsReference);
    Check.acts(
        "reference_free",
        referenceFree,
        lossReadsReference,
        "loss_type %s reads no reference; remove reference_free".formatted(names(lossType)));
    checkReferenceUpdates(
        lossType,
        syncRefModel,
        refModelSyncSteps,
        refModelMixupAlpha,
        precomputeRefLogProbs,
        referenceFree,
        lossReadsReference);
    Check.acts(
        "reference_store",
        referenceStore.kind() == ReferenceStoreFolder.Kind.NAMED,
        scoresReference(lossType, referenceFree) && !syncRefModel,
        syncRefModel
            ? "sync_ref_model changes the reference during training; remove one of them"
            : "this run scores no reference; remove reference_store");
  }

  /** Weight of the loss at {@code index} of {@link #lossType}. */
  public double weight(int index) {
    return lossWeights.isEmpty() ? 1 : lossWeights.get(index);
  }

  /** Whether the losses depend on the reference's log-probs. */
  public boolean readsReference() {
    return !referenceFree && lossType.stream().anyMatch(LossType::readsReference);
  }

  /**
   * Whether the run scores with a reference at all: for the losses, or for the rewards that it
   * reports ({@code sft} alone reads no reference but reports rewards against one, as TRL does).
   */
  public boolean scoresReference() {
    return scoresReference(lossType, referenceFree);
  }

  private static boolean scoresReference(List<LossType> lossType, boolean referenceFree) {
    return !referenceFree && !lossType.equals(List.of(LossType.SIMPO));
  }

  private static void checkLosses(List<LossType> lossType, List<Double> lossWeights) {
    Check.that("loss_type", !lossType.isEmpty(), "nothing", "at least one loss");
    Set<LossType> seen = EnumSet.noneOf(LossType.class);
    for (LossType type : lossType) {
      if (!seen.add(type)) {
        throw new ConfigException(
            "loss_type",
            "%s is given twice; give it once and add up its loss_weights".formatted(type));
      }
    }
    if (!lossWeights.isEmpty() && lossWeights.size() != lossType.size()) {
      throw new ConfigException(
          "loss_weights",
          "got %d weights for %d losses in loss_type; give one weight per loss"
              .formatted(lossWeights.size(), lossType.size()));
    }
    for (int i = 0; i < lossWeights.size(); i++) {
      double weight = lossWeights.get(i);
      if (!(weight > 0) || Double.isInfinite(weight)) {
        throw new ConfigException(
            "loss_weights",
            "got %s for loss_type %s, expected a number above 0; remove the loss to leave it out"
                .formatted(weight, lossType.get(i)));
      }
    }
  }

  private static void checkLabelSmoothing(List<LossType> lossType, double labelSmoothing) {
    boolean exo = lossType.contains(LossType.EXO_PAIR);
    Check.within("label_smoothing", labelSmoothing, 0, exo && lossType.size() == 1 ? 1 : 0.5);
    if (exo && labelSmoothing == 0) {
      throw new ConfigException(
          "label_smoothing",
          "loss_type exo_pair takes its logarithm, so it must be above 0; its paper uses 0.001");
    }
    Check.acts(
        "label_smoothing",
        labelSmoothing != 0,
        lossType.stream().anyMatch(LossType::readsLabelSmoothing),
        "loss_type %s does not read label_smoothing (%s do); remove it"
            .formatted(names(lossType), names(all(LossType::readsLabelSmoothing))));
  }

  private static void checkFDivergence(
      List<LossType> lossType, FDivergence fDivergenceType, double fAlphaDivergenceCoef) {
    if (fDivergenceType != FDivergence.REVERSE_KL) {
      List<LossType> without =
          matching(lossType, type -> !type.readsFDivergence() && type != LossType.SFT);
      if (!without.isEmpty()) {
        throw new ConfigException(
            "f_divergence_type",
            "%s is not defined for loss_type %s (only for %s); remove it or them"
                .formatted(
                    fDivergenceType, names(without), names(all(LossType::readsFDivergence))));
      }
      Check.acts(
          "f_divergence_type",
          true,
          lossType.stream().anyMatch(LossType::readsFDivergence),
          "loss_type sft does not read f_divergence_type; remove it");
    }
    Check.acts(
        "f_alpha_divergence_coef",
        fAlphaDivergenceCoef != DEFAULT_ALPHA,
        fDivergenceType == FDivergence.ALPHA_DIVERGENCE,
        "only f_divergence_type alpha_divergence reads it; set that or remove it");
  }

  private static void checkReferenceUpdates(
      List<LossType> lossType,
      boolean syncRefModel,
      int refModelSyncSteps,
      double refModelMixupAlpha,
      boolean precomputeRefLogProbs,
      boolean referenceFree,
      boolean lossReadsReference) {
    Check.acts(
        "ref_model_sync_steps",
        refModelSyncSteps != DEFAULT_SYNC_STEPS,
        syncRefModel,
        "only sync_ref_model reads it; set sync_ref_model or remove ref_model_sync_steps");
    Check.acts(
        "ref_model_mixup_alpha",
        refModelMixupAlpha != DEFAULT_MIXUP,
        syncRefModel,
        "only sync_ref_model reads it; set sync_ref_model or remove ref_model_mixup_alpha");
    if (syncRefModel && precomputeRefLogProbs) {
      throw new ConfigException(
          "precompute_ref_log_probs",
          "scores the reference once, but sync_ref_model changes it during training; remove one of"
              + " them");
    }
    Check.acts(
        "sync_ref_model",
        syncRefModel,
        lossReadsReference && !referenceFree,
        referenceFree
            ? "reference_free leaves the reference out of the loss; remove one of them"
            : "loss_type %s reads no reference; remove sync_ref_model".formatted(names(lossType)));
    Check.acts(
        "precompute_ref_log_probs",
        precomputeRefLogProbs,
        scoresReference(lossType, referenceFree),
        referenceFree
            ? "reference_free scores no reference; remove one of them"
            : "loss_type simpo scores no reference; remove precompute_ref_log_probs");
  }

  private static List<LossType> all(Predicate<LossType> predicate) {
    return matching(List.of(LossType.values()), predicate);
  }

  private static List<LossType> matching(List<LossType> types, Predicate<LossType> predicate) {
    return types.stream().filter(predicate).toList();
  }

  private static String names(List<LossType> types) {
    return types.stream().map(LossType::toString).collect(Collectors.joining(", "));
  }
}
