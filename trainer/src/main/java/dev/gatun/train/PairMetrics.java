package dev.gatun.train;

import dev.gatun.preference.PairStatistics;
import dev.gatun.report.MetricName;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/**
 * TRL's metrics of one optimizer step: each is computed per micro-batch, then averaged over the
 * micro-batches, whatever their size. Definitions in docs/metrics.md.
 */
final class PairMetrics {
  private final double beta;
  private final List<List<PairStatistics>> microBatches = new ArrayList<>();

  PairMetrics(double beta, int numMicroBatches) {
    this.beta = beta;
    for (int i = 0; i < numMicroBatches; i++) {
      microBatches.add(new ArrayList<>());
    }
  }

  void add(int microBatch, PairStatistics pair) {
    microBatches.get(microBatch).add(pair);
  }

  List<PairStatistics> pairs() {
    return microBatches.stream().flatMap(List::stream).toList();
  }

  double loss() {
    return pairs().stream().mapToDouble(PairStatistics::loss).sum();
  }

  /** All values that depend on the pairs alone. */
  Map<MetricName, Double> values() {
    Map<MetricName, Double> values = new EnumMap<>(MetricName.class);
    values.put(MetricName.LOSS, loss());
    values.put(
        MetricName.ENTROPY,
        ratio(PairStatistics::entropy, pair -> pair.chosenTokens() + pair.rejectedTokens()));
    values.put(
        MetricName.LOGITS_CHOSEN,
        ratio(PairStatistics::chosenLogits, PairStatistics::chosenTokens));
    values.put(
        MetricName.LOGITS_REJECTED,
        ratio(PairStatistics::rejectedLogits, PairStatistics::rejectedTokens));
    values.put(
        MetricName.MEAN_TOKEN_ACCURACY,
        ratio(PairStatistics::correct, PairStatistics::chosenTokens));
    values.put(MetricName.REWARDS_CHOSEN, mean(this::chosenReward));
    values.put(MetricName.REWARDS_REJECTED, mean(this::rejectedReward));
    values.put(
        MetricName.REWARDS_ACCURACIES,
        mean(pair -> chosenReward(pair) > rejectedReward(pair) ? 1 : 0));
    values.put(MetricName.REWARDS_MARGINS, mean(pair -> chosenReward(pair) - rejectedReward(pair)));
    values.put(MetricName.LOGPS_CHOSEN, mean(PairStatistics::chosenLogProb));
    values.put(MetricName.LOGPS_REJECTED, mean(PairStatistics::rejectedLogProb));
    return values;
  }

  private double chosenReward(PairStatistics pair) {
    return beta * (pair.chosenLogProb() - pair.referenceChosenLogProb());
  }

  private double rejectedReward(PairStatistics pair) {
    return beta * (pair.rejectedLogProb() - pair.referenceRejectedLogProb());
  }

  private double mean(ToDoubleFunction<PairStatistics> value) {
    return ratio(value, pair -> 1);
  }

  /**
   * Mean over micro-batches of sum of {@code value} / sum of {@code count}; 0 where that is 0/0.
   */
  private double ratio(
      ToDoubleFunction<PairStatistics> value, ToDoubleFunction<PairStatistics> count) {
    double sum = 0;
    for (List<PairStatistics> microBatch : microBatches) {
      double total = microBatch.stream().mapToDouble(count).sum();
      sum += total == 0 ? 0 : microBatch.stream().mapToDouble(value).sum() / total;
    }
    return sum / microBatches.size();
  }
}
