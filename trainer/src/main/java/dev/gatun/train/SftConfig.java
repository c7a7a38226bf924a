package dev.gatun.train;

import org.jspecify.annotations.Nullable;

/**
 * A supervised fine-tuning run on texts, or on prompts with one answer each.
 *
 * @param datasetTextField column of the text in rows without a prompt
 * @param completionOnlyLoss train on the answer only; null: where a row has a prompt
 */
public record SftConfig(
    ModelSource model,
    DataConfig data,
    String datasetTextField,
    @Nullable Boolean completionOnlyLoss,
    OptimizerConfig optimizer,
    RunConfig run) {
  static final double DEFAULT_LEARNING_RATE = 2e-5;

  public SftConfig {
    optimizer.check(run.precision(model.dtype()));
    Check.that(
        "dataset_text_field", !datasetTextField.isBlank(), "nothing", "the name of a column");
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
    private String datasetTextField = "text";
    private @Nullable Boolean completionOnlyLoss;

    private Builder() {
      super(DEFAULT_LEARNING_RATE);
    }

    public Builder datasetTextField(String column) {
      datasetTextField = column;
      return this;
    }

    /** Trains on answers only; every row must have a prompt. */
    public Builder completionLossOnly() {
      completionOnlyLoss = true;
      return this;
    }

    /** Trains on prompts and answers alike. */
    public Builder completionAndPromptLoss() {
      completionOnlyLoss = false;
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
    public SftConfig build() {
      return new SftConfig(
          model(null), data(), datasetTextField, completionOnlyLoss, optimizer(), run());
    }
  }
}
