package dev.gatun.hf;

import dev.gatun.hf.RopeConfig.Dynamic;
import dev.gatun.hf.RopeConfig.Linear;
import dev.gatun.hf.RopeConfig.Llama3;
import dev.gatun.hf.RopeConfig.RampBounds;
import dev.gatun.hf.RopeConfig.Scaling;
import dev.gatun.hf.RopeConfig.Unscaled;
import dev.gatun.hf.RopeConfig.Yarn;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The rotary embedding of config.json, in the form of transformers 5 ({@code rope_parameters}) or
 * before ({@code rope_theta} and {@code rope_scaling}). Both may be there if they agree.
 */
final class RopeReader {
  private static final double DEFAULT_THETA = 10_000;

  private final JsonFields config;
  private final int maxPositions;

  RopeReader(JsonFields config, int maxPositions) {
    this.config = config;
    this.maxPositions = maxPositions;
  }

  RopeConfig read() {
    RopeConfig current = read("rope_parameters");
    RopeConfig old = read("rope_scaling");
    if (current != null && old != null && !current.equals(old)) {
      throw config.wrong("rope_scaling", "the same as rope_parameters");
    }
    if (current != null) {
      return current;
    }
    if (old != null) {
      return old;
    }
    return new RopeConfig(config.positiveOr("rope_theta", DEFAULT_THETA), new Unscaled());
  }

  private @Nullable RopeConfig read(String key) {
    JsonFields rope = config.objectOrNull(key);
    if (rope == null || rope.isEmpty()) {
      return null;
    }
    if (rope.has("full_attention") || rope.has("sliding_attention")) {
      throw config.wrong(key, "one setting for all layers, not one for each layer type");
    }
    if (rope.positiveOr("partial_rotary_factor", 1) != 1) {
      throw rope.wrong("partial_rotary_factor", "1: RoPE on a part of a head is not supported");
    }
    double theta = rope.positiveOr("rope_theta", config.positiveOr("rope_theta", DEFAULT_THETA));
    return new RopeConfig(theta, scaling(rope));
  }

  private Scaling scaling(JsonFields rope) {
    String typeKey = rope.has("rope_type") ? "rope_type" : "type";
    String given = rope.stringOrNull(typeKey);
    String type = given == null ? "default" : given;
    return switch (type) {
      case "default" -> {
        requireKeys(rope, type, Set.of());
        yield new Unscaled();
      }
      case "linear" -> {
        requireKeys(rope, type, Set.of("factor"));
        yield new Linear(rope.requiredPositive("factor"));
      }
      case "dynamic" -> {
        requireKeys(rope, type, Set.of("factor", "original_max_position_embeddings"));
        yield new Dynamic(rope.requiredPositive("factor"));
      }
      case "llama3" -> {
        requireKeys(
            rope,
            type,
            Set.of(
                "factor",
                "low_freq_factor",
                "high_freq_factor",
                "original_max_position_embeddings"));
        yield new Llama3(
            rope.requiredPositive("factor"),
            rope.requiredPositive("low_freq_factor"),
            rope.requiredPositive("high_freq_factor"),
            originalMaxPositions(rope));
      }
      case "yarn" -> {
        requireKeys(
            rope,
            type,
            Set.of(
                "factor",
                "original_max_position_embeddings",
                "attention_factor",
                "beta_fast",
                "beta_slow",
                "mscale",
                "mscale_all_dim",
                "truncate"));
        yield yarn(rope);
      }
      default -> throw rope.wrong(typeKey, "default, linear, dynamic, yarn or llama3");
    };
  }

  /** A setting that the type does not have would be without effect. */
  private static void requireKeys(JsonFields rope, String type, Set<String> keys) {
    Set<String> always = Set.of("rope_theta", "rope_type", "type", "partial_rotary_factor");
    for (String key : rope.keys()) {
      if (rope.has(key) && !keys.contains(key) && !always.contains(key)) {
        throw rope.wrong(key, "no such key: rope_type " + type + " has no such setting");
      }
    }
  }

  private int originalMaxPositions(JsonFields rope) {
    String key = "original_max_position_embeddings";
    int original = rope.intOr(key, maxPositions, 1, Integer.MAX_VALUE);
    // A value beside the other sizes, as Phi-3 has it, wins in transformers.
    return config.intOr(key, original, 1, Integer.MAX_VALUE);
  }

  private Yarn yarn(JsonFields rope) {
    int original = originalMaxPositions(rope);
    double factor = rope.positiveOr("factor", (double) maxPositions / original);
    double mscale = rope.positiveOr("mscale", 0);
    double mscaleAllDim = rope.positiveOr("mscale_all_dim", 0);
    double recommended =
        mscale > 0 && mscaleAllDim > 0
            ? magnitude(factor, mscale) / magnitude(factor, mscaleAllDim)
            : magnitude(factor, 1);
    return new Yarn(
        factor,
        original,
        rope.positiveOr("beta_fast", 32),
        rope.positiveOr("beta_slow", 1),
        rope.positiveOr("attention_factor", recommended),
        rope.booleanOr("truncate", true) ? RampBounds.TRUNCATED : RampBounds.EXACT);
  }

  /** YaRN (arXiv 2309.00071), equation 22, with the weight that DeepSeek added. */
  private static double magnitude(double factor, double weight) {
    return factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  }
}
