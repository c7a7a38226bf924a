package dev.gatun.train;

import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A preference-training run. Components are named as TRL's options are, in camel case; what each
 * means is said at its record.
 */
public record DpoConfig(
    ModelSource model, DataConfig data, LossConfig loss, OptimizerConfig optimizer, RunConfig run) {
  static final double DEFAULT_LEARNING_RATE = 1e-6;

  public DpoConfig {
    optimizer.check(run.precision(model.dtype()));
    boolean otherReference = model.refModelNameOrPath() != null;
    Check.acts(
        "ref_model_name_or_path",
        otherReference,
        loss.scoresReference(),
        loss.referenceFree()
            ? "reference_free scores no reference; remove one of them"
            : "loss_type simpo scores no reference; remove ref_model_name_or_path");
    Check.acts(
        "ref_model_sync_steps",
        loss.syncRefModel(),
        run.maxSteps() == -1 || loss.refModelSyncSteps() <= run.maxSteps(),
        "the first sync would come after max_steps %d; lower ref_model_sync_steps or remove"
                .formatted(run.maxSteps())
            + " sync_ref_model");
    boolean sorts = loss.lossType().stream().anyMatch(LossType::sortsMicroBatch);
    Check.acts(
        "loss_type",
        sorts,
        run.perDeviceTrainBatchSize() > 1,
        "aot sorts the pairs of a micro-batch, and per_device_train_batch_size 1 leaves nothing to"
            + " sort; raise it or use loss_type sigmoid");
  }

  /** Storage type of weights and activations, as {@code dtype} and {@code bf16} choose it. */
  public PrecisionChoice precision() {
    return run.precision(model.dtype());
  }

  public static Builder builder() {
    return new Builder();
  }

  /** Collects options; those not set keep their defaults. */
  public static final class Builder extends TrainingBuilder<Builder> {
    private @Nullable Path refModelNameOrPath;
    private List<LossType> lossType = List.of(LossType.SIGMOID);
    private List<Double> lossWeights = List.of();
    private double beta = LossConfig.DEFAULT_BETA;
    private double labelSmoothing;
    private FDivergence fDivergenceType = FDivergence.REVERSE_KL;
    private double fAlphaDivergenceCoef = LossConfig.DEFAULT_ALPHA;
    private @Nullable Double ldAlpha;
    private boolean useWeighting;
    private double discopopTau = LossConfig.DEFAULT_TAU;
    private double simpoGamma = LossConfig.DEFAULT_GAMMA;
    private boolean referenceFree;
    private boolean syncRefModel;
    private int refModelSyncSteps = LossConfig.DEFAULT_SYNC_STEPS;
    private double refModelMixupAlpha = LossConfig.DEFAULT_MIXUP;
    private boolean precomputeRefLogProbs;
    private ReferenceStoreFolder referenceStore = ReferenceStoreFolder.NONE;

    private Builder() {
      super(DEFAULT_LEARNING_RATE);
    }

    /** Model directory of the reference, if it is not the policy's start. */
    public Builder refModelNameOrPath(Path directory) {
      refModelNameOrPath = directory;
      return this;
    }

    public Builder lossType(LossType... types) {
      return lossType(List.of(types));
    }

    public Builder lossType(List<LossType> types) {
      lossType = types;
      return this;
    }

    /** One weight per loss, in the order of {@link #lossType}. */
    public Builder lossWeights(List<Double> weights) {
      lossWeights = weights;
      return this;
    }

    public Builder beta(double value) {
      beta = value;
      return this;
    }

    public Builder labelSmoothing(double value) {
      labelSmoothing = value;
      return this;
    }

    public Builder fDivergenceType(FDivergence value) {
      fDivergenceType = value;
      return this;
    }

    public Builder fAlphaDivergenceCoef(double value) {
      fAlphaDivergenceCoef = value;
      return this;
    }

    public Builder ldAlpha(double value) {
      ldAlpha = value;
      return this;
    }

    /** Switches WPO's weighting of pairs on. */
    public Builder useWeighting() {
      useWeighting = true;
      return this;
    }

    public Builder discopopTau(double value) {
      discopopTau = value;
      return this;
    }

    public Builder simpoGamma(double value) {
      simpoGamma = value;
      return this;
    }

    /** Leaves the reference out of the loss. */
    public Builder referenceFree() {
      referenceFree = true;
      return this;
    }

    /** Mixes the policy into the reference every {@link #refModelSyncSteps}. */
    public Builder syncRefModel() {
      syncRefModel = true;
      return this;
    }

    public Builder refModelSyncSteps(int value) {
      refModelSyncSteps = value;
      return this;
    }

    public Builder refModelMixupAlpha(double value) {
      refModelMixupAlpha = value;
      return this;
    }

    /** Scores the reference once, before training, and then frees it. */
    public Builder precomputeRefLogProbs() {
      precomputeRefLogProbs = true;
      return this;
    }

    /**
     * Where the reference's log-probabilities are kept for later runs; nowhere unless this is set.
     */
    public Builder referenceStore(ReferenceStoreFolder value) {
      referenceStore = value;
      return this;
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * The configuration.
     *
     * @throws ConfigException naming the option that is missing, wrong or without effect
     */
    public DpoConfig build() {
      return new DpoConfig(
          model(refModelNameOrPath),
          data(),
          new LossConfig(
              lossType,
              lossWeights,
              beta,
              labelSmoothing,
              fDivergenceType,
              fAlphaDivergenceCoef,
              ldAlpha,
              useWeighting,
              discopopTau,
              simpoGamma,
              referenceFree,
              syncRefModel,
              refModelSyncSteps,
              refModelMixupAlpha,
              precomputeRefLogProbs,
              referenceStore),
          optimizer(),
          run());
    }
  }
}
