package dev.gatun.data;

/**
 * Uniform permutations that depend on nothing but their arguments: Fisher-Yates (Knuth, TAOCP 2,
 * 3.4.2 P) over SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), written out here so that an order
 * never changes with a JDK. They are not torch's permutations of the same seed.
 */
final class Permutation {
  private static final long GOLDEN_GAMMA = 0x9E3779B97F4A7C15L;

  private long state;

  private Permutation(long state) {
    this.state = state;
  }

  /** The numbers 0 to {@code n - 1} in the order of this seed and stream. */
  static int[] of(int n, long seed, long stream) {
    Permutation random = new Permutation(mix(mix(seed) + stream * GOLDEN_GAMMA));
    int[] order = new int[n];
    for (int i = 0; i < n; i++) {
      int j = random.below(i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    return order;
  }

  /** Uniform in 0 to {@code bound - 1}: 31 random bits, redrawn above the last whole multiple. */
  private int below(int bound) {
    int bits;
    int value;
    do {
      state += GOLDEN_GAMMA;
      bits = (int) (mix(state) >>> 33);
      value = bits % bound;
    } while (bits - value + (bound - 1) < 0);
    return value;
  }

  private static long mix(long z) {
    long a = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
    long b = (a ^ (a >>> 27)) * 0x94D049BB133111EBL;
    return b ^ (b >>> 31);
  }
}
