package dev.gatun.model;

/**
 * How the next token is chosen.
 *
 * @param maxNewTokens stop after this many, if no end-of-sequence token came first
 * @param temperature logits are divided by it; 0 takes the most likely token (greedy)
 * @param topK only the k most likely tokens; 0: all
 * @param topP only the most likely tokens that together reach this probability; 1: all
 * @param seed of the random choice; a prompt's result depends on it and on the prompt's index only
 */
public record GenerationOptions(
    int maxNewTokens, double temperature, int topK, double topP, long seed) {
  public GenerationOptions {
    check(maxNewTokens >= 1, "max_new_tokens", maxNewTokens, "at least 1");
    check(
        temperature >= 0 && Double.isFinite(temperature), "temperature", temperature, "0 or more");
    check(topK >= 0, "top_k", topK, "at least 1, or 0 for all");
    check(topP > 0 && topP <= 1, "top_p", topP, "above 0 and at most 1");
  }

  /** Greedy decoding. */
  public static GenerationOptions greedy(int maxNewTokens) {
    return new GenerationOptions(maxNewTokens, 0, 0, 1, 0);
  }

  private static void check(boolean holds, String option, Number value, String expected) {
    if (!holds) {
      throw new IllegalArgumentException(
          "%s: got %s, expected %s".formatted(option, value, expected));
    }
  }
}
