package dev.gatun.data;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** Collects what {@link DataReport} tells. */
final class Tally {
  private static final int BAD_ROWS_SHOWN = 3;
  private static final int COLUMNS_SHOWN = 20;

  private final Set<String> usedColumns;
  private final Map<Finding, Long> counts = new EnumMap<>(Finding.class);
  private final TreeSet<String> ignoredColumns = new TreeSet<>();
  private final List<String> badRows = new ArrayList<>();

  Tally(Set<String> usedColumns) {
    this.usedColumns = usedColumns;
  }

  void count(Finding finding) {
    counts.merge(finding, 1L, Long::sum);
  }

  void countIf(boolean found, Finding finding) {
    if (found) {
      count(finding);
    }
  }

  void columns(JsonRow row) {
    for (JsonRow.Column column : row.columns()) {
      if (!usedColumns.contains(column.name()) && ignoredColumns.size() < COLUMNS_SHOWN) {
        ignoredColumns.add(column.name());
      }
    }
  }

  void badRow(BadRowException e) {
    count(Finding.BAD_ROW);
    if (badRows.size() < BAD_ROWS_SHOWN) {
      badRows.add(e.getMessage());
    }
  }

  long get(Finding finding) {
    return counts.getOrDefault(finding, 0L);
  }

  DataReport report(int files, List<DataReport.Lengths> lengths) {
    return new DataReport(files, counts, ignoredColumns, badRows, lengths);
  }
}
