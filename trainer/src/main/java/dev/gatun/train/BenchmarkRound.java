package dev.gatun.train;

import dev.gatun.backend.RangeTimes;

/**
 * What one round of a benchmark measured.
 *
 * @param seconds wall time, until the device had done everything
 * @param tokens as TRL counts them: each answer with its prompt
 * @param tokensComputed tokens that were computed: each prompt once
 * @param usefulFlops floating-point operations that losses and gradients need
 * @param phases where the device's time went; {@code step} is what no other phase has
 */
public record BenchmarkRound(
    double seconds,
    long pairs,
    long tokens,
    long tokensComputed,
    double usefulFlops,
    RangeTimes phases) {
  public double pairsPerSecond() {
    return pairs / seconds;
  }

  public double tokensPerSecond() {
    return tokens / seconds;
  }

  public double flopsPerSecond() {
    return usefulFlops / seconds;
  }
}
