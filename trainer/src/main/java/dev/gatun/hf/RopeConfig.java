package dev.gatun.hf;

/**
 * Rotary position embedding: head dimension pair {@code i} of position {@code p} turns by {@code p
 * * theta^(-2i/headDim)}, changed by {@code scaling}. transformers: {@code modeling_rope_utils.py}.
 */
public record RopeConfig(double theta, Scaling scaling) {
  public RopeConfig {
    if (!(theta > 1 && Double.isFinite(theta))) {
      throw new IllegalArgumentException(
          "rope_theta is " + theta + ", expected a finite number greater than 1");
    }
  }

  /** How the frequencies change so that a model reads texts longer than it was pretrained on. */
  public sealed interface Scaling {
    /** The value of {@code rope_type}. */
    String type();
  }

  /** Frequencies as they are. */
  public record Unscaled() implements Scaling {
    @Override
    public String type() {
      return "default";
    }
  }

  /** Every frequency divided by {@code factor}. */
  public record Linear(double factor) implements Scaling {
    public Linear {
      requirePositive("factor", factor);
    }

    @Override
    public String type() {
      return "linear";
    }
  }

  /**
   * Theta grows with the text once it is longer than the model's positions ("NTK"). Up to there,
   * and Gatun trains only there, the frequencies are unscaled.
   */
  public record Dynamic(double factor) implements Scaling {
    public Dynamic {
      requirePositive("factor", factor);
    }

    @Override
    public String type() {
      return "dynamic";
    }
  }

  /**
   * Wavelengths above {@code originalMaxPositions / lowFreqFactor} are stretched by {@code factor},
   * those below {@code originalMaxPositions / highFreqFactor} stay, between them it blends.
   */
  public record Llama3(
      double factor, double lowFreqFactor, double highFreqFactor, int originalMaxPositions)
      implements Scaling {
    public Llama3 {
      requirePositive("factor", factor);
      requirePositive("low_freq_factor", lowFreqFactor);
      requirePositive("high_freq_factor", highFreqFactor);
      requirePositive("original_max_position_embeddings", originalMaxPositions);
      if (highFreqFactor <= lowFreqFactor) {
        throw new IllegalArgumentException(
            "rope high_freq_factor is "
                + highFreqFactor
                + ", expected more than low_freq_factor, which is "
                + lowFreqFactor);
      }
    }

    @Override
    public String type() {
      return "llama3";
    }
  }

  /**
   * Pairs that turn fewer than {@code betaSlow} times in {@code originalMaxPositions} are stretched
   * by {@code factor}, those that turn more than {@code betaFast} times stay, between them it
   * blends along the pair's index; cosines and sines are multiplied by {@code attentionFactor}.
   */
  public record Yarn(
      double factor,
      int originalMaxPositions,
      double betaFast,
      double betaSlow,
      double attentionFactor,
      RampBounds rampBounds)
      implements Scaling {
    public Yarn {
      requirePositive("factor", factor);
      requirePositive("original_max_position_embeddings", originalMaxPositions);
      requirePositive("beta_fast", betaFast);
      requirePositive("beta_slow", betaSlow);
      requirePositive("attention_factor", attentionFactor);
    }

    @Override
    public String type() {
      return "yarn";
    }
  }

  /** Whether YaRN's blend begins and ends at whole pair indices ({@code truncate}). */
  public enum RampBounds {
    TRUNCATED,
    EXACT
  }

  private static void requirePositive(String name, double value) {
    if (!(value > 0 && Double.isFinite(value))) {
      throw new IllegalArgumentException(
          "rope " + name + " is " + value + ", expected a finite number greater than 0");
    }
  }
}
