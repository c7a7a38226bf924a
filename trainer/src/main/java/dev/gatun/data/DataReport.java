package dev.gatun.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedSet;

/**
 * What was found in the rows of a run, told before it trains.
 *
 * @param files read
 * @param counts rows by finding; absent is 0
 * @param ignoredColumns that no rule uses
 * @param badRows the first few messages, where bad rows were skipped
 * @param lengths tokens of the rows kept, by part
 */
public record DataReport(
    int files,
    Map<Finding, Long> counts,
    SortedSet<String> ignoredColumns,
    List<String> badRows,
    List<Lengths> lengths) {

  /**
   * Token counts of one part over all rows kept.
   *
   * @param part {@code prompt}, {@code chosen}, ...
   * @param median the lower of the two middle ones
   */
  public record Lengths(String part, int minimum, int median, int maximum, long sum) {
    static Lengths of(String part, int[] lengths) {
      int[] sorted = lengths.clone();
      Arrays.sort(sorted);
      long sum = 0;
      for (int length : sorted) {
        sum += length;
      }
      return new Lengths(
          part, sorted[0], sorted[(sorted.length - 1) / 2], sorted[sorted.length - 1], sum);
    }
  }

  public DataReport {
    counts = Collections.unmodifiableMap(new EnumMap<>(counts));
    ignoredColumns = Collections.unmodifiableSortedSet(ignoredColumns);
    badRows = List.copyOf(badRows);
    lengths = List.copyOf(lengths);
  }

  /** Rows with this finding. */
  public long count(Finding finding) {
    return counts.getOrDefault(finding, 0L);
  }

  /** Tokens of all rows kept, the prompt of a pair counted once. */
  public long tokens() {
    return lengths.stream().mapToLong(Lengths::sum).sum();
  }

  /** Aligned lines for people: every finding that occurred, then lengths and remarks. */
  public List<String> lines() {
    List<String> lines = new ArrayList<>();
    long read = count(Finding.ROWS_READ);
    for (Finding finding : Finding.values()) {
      long rows = count(finding);
      if (rows > 0) {
        String share =
            finding == Finding.ROWS_READ
                ? "(" + files + (files == 1 ? " file)" : " files)")
                : String.format(Locale.ROOT, "%.1f%%", 100.0 * rows / read);
        lines.add(String.format(Locale.ROOT, "%,12d  %-9s %s", rows, share, finding.words()));
      }
    }
    for (Lengths part : lengths) {
      lines.add(
          String.format(
              Locale.ROOT,
              "%,12d  %-9s %s tokens, %.1f%% of all; per row %,d to %,d, median %,d",
              part.sum(),
              "",
              part.part(),
              100.0 * part.sum() / Math.max(1, tokens()),
              part.minimum(),
              part.maximum(),
              part.median()));
    }
    if (!ignoredColumns.isEmpty()) {
      lines.add(
          "columns ignored: "
              + String.join(", ", ignoredColumns.stream().map(JsonRow::quote).toList()));
    }
    for (String badRow : badRows) {
      lines.add("skipped: " + badRow);
    }
    return lines;
  }
}
