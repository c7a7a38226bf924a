package dev.gatun.report;

import java.util.Collection;
import java.util.Locale;
import java.util.Optional;

/** Finds the known name that a misspelled one was probably meant to be. */
public final class DidYouMean {
  private DidYouMean() {}

  /**
   * The known name closest to {@code given}, compared without case and with {@code -} equal to
   * {@code _}; empty if none is near. Near means at most one edit per three characters. Of equally
   * close names the first in {@code known} wins.
   */
  public static Optional<String> of(String given, Collection<String> known) {
    String folded = fold(given);
    String best = null;
    int bestDistance = Math.max(1, folded.length() / 3) + 1;
    for (String name : known) {
      int distance = distance(folded, fold(name));
      if (distance < bestDistance) {
        bestDistance = distance;
        best = name;
      }
    }
    return Optional.ofNullable(best);
  }

  /** The end of an error sentence: {@code "; did you mean beta?"}, or nothing. */
  public static String hint(String given, Collection<String> known) {
    return of(given, known).map(name -> "; did you mean " + name + "?").orElse("");
  }

  private static String fold(String name) {
    return name.toLowerCase(Locale.ROOT).replace('-', '_');
  }

  /**
   * Edits (insert, delete, replace, swap of two neighbours) that turn {@code a} into {@code b}; no
   * part is edited twice (optimal string alignment).
   */
  static int distance(String a, String b) {
    int[] beforePrevious = new int[b.length() + 1];
    int[] previous = new int[b.length() + 1];
    int[] current = new int[b.length() + 1];
    for (int j = 0; j <= b.length(); j++) {
      previous[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      current[0] = i;
      for (int j = 1; j <= b.length(); j++) {
        int replace = previous[j - 1] + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        current[j] = Math.min(replace, Math.min(previous[j], current[j - 1]) + 1);
        if (i > 1
            && j > 1
            && a.charAt(i - 1) == b.charAt(j - 2)
            && a.charAt(i - 2) == b.charAt(j - 1)) {
          current[j] = Math.min(current[j], beforePrevious[j - 2] + 1);
        }
      }
      int[] recycled = beforePrevious;
      beforePrevious = previous;
      previous = current;
      current = recycled;
    }
    return previous[b.length()];
  }
}
