package dev.gatun.train;

import dev.gatun.data.PairTokens;
import dev.gatun.model.BatchRounding;
import dev.gatun.model.PackedBatch;
import dev.gatun.preference.PairObjective.Coupling;
import dev.gatun.preference.PairObjective.Weights;
import java.util.ArrayList;
import java.util.List;

/**
 * Cuts the pairs of an optimizer step into packed batches of at most so many tokens. Micro-batches
 * decide only how pairs are weighted, not how they are computed: the pairs of a step are packed by
 * length across them ({@link FirstFit}), so 1 x 4 and 4 x 1 do the same arithmetic. Losses that
 * couple the pairs of a micro-batch keep each micro-batch in one pack.
 */
final class StepPacker {
  private final List<PairTokens> pairs;
  private final int maxTokens;
  private final Coupling coupling;
  private final BatchRounding rounding;

  StepPacker(List<PairTokens> pairs, int maxTokens, Coupling coupling, BatchRounding rounding) {
    this.pairs = pairs;
    this.maxTokens = maxTokens;
    this.coupling = coupling;
    this.rounding = rounding;
  }

  /**
   * Pairs that are computed together.
   *
   * @param rows index of each pair's row
   * @param microBatches number of the micro-batch of each pair, inside its step
   */
  record Pack(List<Integer> rows, List<Integer> microBatches, Weights weights) {}

  /** The packs of a step; each has its pairs in the order of the step's rows. */
  List<Pack> packs(List<int[]> microBatches) {
    return FirstFit.pack(units(microBatches), this::tokens, maxTokens).stream()
        .map(units -> units.stream().flatMap(List::stream).toList())
        .map(members -> pack(members, microBatches))
        .toList();
  }

  private long tokens(List<Member> unit) {
    return unit.stream().mapToLong(member -> pairs.get(member.row).length()).sum();
  }

  /** The packed batch of a pack. */
  PackedBatch batch(Pack pack) {
    return rounding.apply(
        PackedBatch.of(
            pack.rows.stream()
                .map(pairs::get)
                .map(
                    pair ->
                        new PackedBatch.Sequence(
                            pair.prompt(), List.of(pair.chosen(), pair.rejected())))
                .toList()));
  }

  private record Member(int row, int microBatch) {}

  /** What must stay together: pairs, or micro-batches. */
  private List<List<Member>> units(List<int[]> microBatches) {
    List<List<Member>> units = new ArrayList<>();
    for (int m = 0; m < microBatches.size(); m++) {
      List<Member> unit = new ArrayList<>();
      for (int row : microBatches.get(m)) {
        unit.add(new Member(row, m));
        if (coupling == Coupling.NONE) {
          units.add(unit);
          unit = new ArrayList<>();
        }
      }
      if (!unit.isEmpty()) {
        units.add(unit);
      }
    }
    return units;
  }

  private Pack pack(List<Member> members, List<int[]> microBatches) {
    float[] scale = new float[members.size()];
    float[] sftScale = new float[members.size()];
    List<Integer> groupBegin = new ArrayList<>();
    for (int i = 0; i < members.size(); i++) {
      int[] microBatch = microBatches.get(members.get(i).microBatch);
      scale[i] = (float) (1.0 / ((double) microBatches.size() * microBatch.length));
      long chosenTokens = 0;
      for (int row : microBatch) {
        chosenTokens += predictions(pairs.get(row));
      }
      sftScale[i] =
          chosenTokens == 0 ? 0 : (float) (1.0 / ((double) microBatches.size() * chosenTokens));
      if (i == 0 || members.get(i).microBatch != members.get(i - 1).microBatch) {
        groupBegin.add(i);
      }
    }
    groupBegin.add(members.size());
    return new Pack(
        members.stream().map(Member::row).toList(),
        members.stream().map(Member::microBatch).toList(),
        new Weights(scale, sftScale, groupBegin.stream().mapToInt(Integer::intValue).toArray()));
  }

  private static int predictions(PairTokens pair) {
    return pair.prompt().length > 0 ? pair.chosen().length : Math.max(0, pair.chosen().length - 1);
  }
}
