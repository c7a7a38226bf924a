package dev.gatun.data;

import dev.gatun.hf.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;

/**
 * All pairs of a run, in file order, ready to train on.
 *
 * @param report what was found on the way
 */
public record PreferenceDataset(List<PairTokens> pairs, DataReport report) {
  private static final Set<String> COLUMNS = Set.of("prompt", "chosen", "rejected");

  public PreferenceDataset {
    pairs = List.copyOf(pairs);
  }

  /**
   * Reads, tokenizes and truncates the rows of files.
   *
   * @param numThreads that tokenize
   * @throws DataException if a row is bad and {@code onBadRow} says error, if a file cannot be
   *     read, or if no row is left
   */
  public static PreferenceDataset load(
      List<Path> files,
      Tokenizer tokenizer,
      PairOptions options,
      OnBadRow onBadRow,
      int numThreads) {
    Loader loader = new Loader(tokenizer, options, numThreads);
    loader.readAll(files, onBadRow);
    DataReport report =
        loader.tally.report(
            files.size(),
            List.of(
                lengths("prompt", loader.pairs, PairTokens::prompt),
                lengths("chosen", loader.pairs, PairTokens::chosen),
                lengths("rejected", loader.pairs, PairTokens::rejected)));
    return new PreferenceDataset(loader.pairs, report);
  }

  private interface Part {
    int[] of(PairTokens pair);
  }

  private static DataReport.Lengths lengths(String name, List<PairTokens> pairs, Part part) {
    return DataReport.Lengths.of(
        name, pairs.stream().mapToInt(pair -> part.of(pair).length).toArray());
  }

  private static final class Loader extends RowLoader<Preference> {
    final List<PairTokens> pairs = new ArrayList<>();
    private final PreferenceTokenizer preferenceTokenizer;
    private final ImplicitPrompt implicitPrompt;
    private final OptionalInt bos;
    private final Set<Preference> seen = new HashSet<>();

    Loader(Tokenizer tokenizer, PairOptions options, int numThreads) {
      super(COLUMNS);
      this.preferenceTokenizer = new PreferenceTokenizer(tokenizer, options, numThreads);
      this.implicitPrompt = options.implicitPrompt();
      this.bos = tokenizer.bosTokenId();
    }

    @Override
    Preference parse(JsonRow row) {
      Preference preference = Preference.of(row, implicitPrompt);
      tally.countIf(!row.has("prompt"), Finding.IMPLICIT_PROMPT);
      return preference;
    }

    @Override
    void accept(List<Preference> preferences, long[] rows) {
      List<PreferenceTokenizer.Encoded> encoded = preferenceTokenizer.encode(preferences, rows);
      for (int i = 0; i < encoded.size(); i++) {
        switch (preferenceTokenizer.fit(encoded.get(i).pair())) {
          case PreferenceTokenizer.Dropped(Finding why) -> tally.count(why);
          case PreferenceTokenizer.Kept(PairTokens pair, boolean truncated, boolean endLost) -> {
            count(preferences.get(i), pair);
            tally.countIf(encoded.get(i).mergedBoundary(), Finding.MERGED_BOUNDARY);
            tally.countIf(truncated, Finding.TRUNCATED);
            tally.countIf(endLost, Finding.END_OF_TEXT_LOST);
            pairs.add(pair);
          }
        }
      }
    }

    private void count(Preference preference, PairTokens pair) {
      String chosen = preference.chosen();
      String rejected = preference.rejected();
      tally.count(Finding.ROWS_KEPT);
      tally.countIf(pair.prompt().length == 0, Finding.EMPTY_PROMPT);
      tally.countIf(beginsTwice(pair.prompt(), bos), Finding.DOUBLE_BOS);
      tally.countIf(chosen.isEmpty() || rejected.isEmpty(), Finding.EMPTY_ANSWER);
      tally.countIf(chosen.equals(rejected), Finding.IDENTICAL_ANSWERS);
      tally.countIf(
          !chosen.equals(rejected) && seen.contains(preference.reversed()), Finding.CONTRADICTION);
      tally.countIf(!seen.add(preference), Finding.DUPLICATE);
    }
  }

  static boolean beginsTwice(int[] ids, OptionalInt bos) {
    return ids.length >= 2
        && bos.isPresent()
        && ids[0] == bos.getAsInt()
        && ids[1] == bos.getAsInt();
  }
}
