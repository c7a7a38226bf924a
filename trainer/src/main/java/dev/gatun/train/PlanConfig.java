package dev.gatun.train;

import java.util.Objects;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * A run whose memory is to be planned.
 *
 * @param training its options; paths that are not read may be any
 * @param model directory, or shape of a model without files
 * @param lengths of every pair, instead of {@code training}'s data; or null
 * @param computeCapability of the GPU planned for, if that is not here: 90 for sm_90
 * @param deviceBytes memory that the largest packs are to be found for
 */
public record PlanConfig(
    DpoConfig training,
    BenchmarkModel model,
    @Nullable Lengths lengths,
    int computeCapability,
    OptionalLong deviceBytes) {

  /** Tokens of a prompt and of each of its answers. */
  public record Lengths(int promptTokens, int answerTokens) {
    public Lengths {
      Check.that("prompt_tokens", promptTokens >= 1, promptTokens, "at least 1");
      Check.that("answer_tokens", answerTokens >= 1, answerTokens, "at least 1");
    }
  }

  public PlanConfig {
    Objects.requireNonNull(training, "training");
    Objects.requireNonNull(model, "model");
    if (model instanceof BenchmarkModel.Shape && lengths == null) {
      throw new ConfigException(
          "shape", "has no tokenizer to read data with; add prompt_tokens and answer_tokens");
    }
    Check.that(
        "compute_capability",
        computeCapability >= 80,
        computeCapability,
        "at least 80: the GPUs that Gatun runs on");
    Check.that(
        "device_memory",
        deviceBytes.isEmpty() || deviceBytes.getAsLong() >= 1,
        deviceBytes,
        "more than nothing");
  }
}
