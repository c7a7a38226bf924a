package dev.gatun.model;

import java.util.Arrays;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Chooses a token from logits: greedy, or temperature, then top-k, then top-p, then a draw. */
final class TokenSampler {
  private static final RandomGeneratorFactory<RandomGenerator> RANDOM =
      RandomGeneratorFactory.of("L64X128MixRandom");

  private final GenerationOptions options;
  private final RandomGenerator random;

  /** The sampler of one prompt; its draws depend on the seed and the prompt's index alone. */
  TokenSampler(GenerationOptions options, int promptIndex) {
    this.options = options;
    this.random = RANDOM.create(options.seed() * 0x9E3779B97F4A7C15L + promptIndex);
  }

  /** The next token, from logits {@code [offset, offset + vocab)}. */
  int next(float[] logits, int offset, int vocab) {
    if (options.temperature() == 0) {
      return argmax(logits, offset, vocab);
    }
    long[] candidates = mostLikely(logits, offset, vocab);
    double max = logit(logits, offset, candidates[0]);
    double[] cumulative = new double[candidates.length];
    double sum = 0;
    for (int i = 0; i < candidates.length; i++) {
      sum += Math.exp((logit(logits, offset, candidates[i]) - max) / options.temperature());
      cumulative[i] = sum;
    }
    int kept = candidates.length;
    if (options.topP() < 1) {
      kept = Math.min(kept, atLeast(cumulative, options.topP() * sum) + 1);
    }
    int drawn = atLeast(cumulative, random.nextDouble() * cumulative[kept - 1]);
    return token(candidates[Math.min(drawn, kept - 1)]);
  }

  private static int argmax(float[] logits, int offset, int vocab) {
    int best = 0;
    for (int i = 1; i < vocab; i++) {
      if (logits[offset + i] > logits[offset + best]) {
        best = i;
      }
    }
    return best;
  }

  /**
   * Tokens by falling logit (equal ones by rising id), as sortable keys: the top k where k is set,
   * else all.
   */
  private long[] mostLikely(float[] logits, int offset, int vocab) {
    long[] keys = new long[vocab];
    for (int i = 0; i < vocab; i++) {
      int bits = Float.floatToIntBits(logits[offset + i]);
      int ordered = bits >= 0 ? bits : bits ^ 0x7fffffff; // ascending as integers
      keys[i] = ((long) ~ordered << 32) | i;
    }
    Arrays.sort(keys);
    return options.topK() > 0 && options.topK() < vocab
        ? Arrays.copyOf(keys, options.topK())
        : keys;
  }

  private static int token(long key) {
    return (int) key;
  }

  private static double logit(float[] logits, int offset, long key) {
    return logits[offset + token(key)];
  }

  /** First index whose cumulative value is at least {@code value}. */
  private static int atLeast(double[] cumulative, double value) {
    int found = Arrays.binarySearch(cumulative, value);
    return Math.min(found >= 0 ? found : -found - 1, cumulative.length - 1);
  }
}
