package dev.gatun.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Reads all rows of a run in stretches, so that their texts are tokenized many at a time and never
 * all held at once.
 *
 * @param <T> what a row holds
 */
abstract class RowLoader<T> {
  private static final int STRETCH = 1024;

  final Tally tally;
  private final List<T> texts = new ArrayList<>(STRETCH);
  private final long[] rows = new long[STRETCH];

  RowLoader(Set<String> columns) {
    this.tally = new Tally(columns);
  }

  /**
   * What a row holds.
   *
   * @throws BadRowException if nothing usable
   */
  abstract T parse(JsonRow row);

  /** Takes up to {@value #STRETCH} texts with the 1-based numbers of their rows. */
  abstract void accept(List<T> texts, long[] rows);

  /**
   * Reads all rows.
   *
   * @throws DataException as {@link PreferenceDataset#load} says
   */
  final void readAll(List<Path> files, OnBadRow onBadRow) {
    try (JsonRows source = JsonRows.open(files)) {
      while (true) {
        try {
          JsonRow row = source.next();
          if (row == null) {
            break;
          }
          tally.columns(row);
          add(parse(row), tally.get(Finding.ROWS_READ) + 1);
        } catch (BadRowException e) {
          if (onBadRow == OnBadRow.ERROR) {
            throw e.withRemedy();
          }
          tally.badRow(e);
        }
        tally.count(Finding.ROWS_READ);
      }
    }
    flush();
    if (tally.get(Finding.ROWS_KEPT) == 0) {
      throw nothingLeft(files);
    }
  }

  private void add(T text, long row) {
    rows[texts.size()] = row;
    texts.add(text);
    if (texts.size() == STRETCH) {
      flush();
    }
  }

  private void flush() {
    accept(List.copyOf(texts), Arrays.copyOf(rows, texts.size()));
    texts.clear();
  }

  private DataException nothingLeft(List<Path> files) {
    RowPlace place = RowPlace.wholeFile(files.getFirst());
    String where = files.size() == 1 ? "" : "and %d more files: ".formatted(files.size() - 1);
    if (tally.get(Finding.ROWS_READ) == 0) {
      return new DataException(place, where + "holds no row, expected one JSON object per line");
    }
    List<String> why = new ArrayList<>();
    for (Finding finding :
        List.of(Finding.BAD_ROW, Finding.PROMPT_TOO_LONG, Finding.NOTHING_TO_PREDICT)) {
      if (tally.get(finding) > 0) {
        why.add(tally.get(finding) + " " + finding.words());
      }
    }
    return new DataException(
        place,
        where
            + "none of %d rows is left to train on (%s): repair the rows or raise --max_length"
                .formatted(tally.get(Finding.ROWS_READ), String.join("; ", why)));
  }
}
