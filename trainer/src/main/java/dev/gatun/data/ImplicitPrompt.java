package dev.gatun.data;

import java.lang.Character.UnicodeScript;
import java.util.EnumSet;
import java.util.Locale;

/**
 * Where the prompt of a row ends that has only {@code chosen} and {@code rejected}: two full texts
 * with a common beginning. Both rules split between code points, move one space before the split
 * into the answers, and leave each answer at least one code point.
 */
public enum ImplicitPrompt {
  /** At the first difference, moved back to the beginning of the word that it falls in. */
  WORDS {
    @Override
    int split(String chosen, String rejected) {
      int split = Math.min(firstDifference(chosen, rejected), lastCodePoint(chosen, rejected));
      while (split > 0 && (insideWord(chosen, split) || insideWord(rejected, split))) {
        split -= Character.charCount(chosen.codePointBefore(split));
      }
      return beforeSpace(chosen, split);
    }
  },

  /** At the first difference, be it inside of a word, as TRL does. */
  TRL {
    @Override
    int split(String chosen, String rejected) {
      int difference = firstDifference(chosen, rejected);
      int last = lastCodePoint(chosen, rejected);
      // TRL looks for the space only where it found a difference.
      return difference > last ? last : beforeSpace(chosen, difference);
    }
  };

  // Scripts written without spaces between words: there a split between any two letters is one
  // between words as far as a program without a dictionary can tell.
  private static final EnumSet<UnicodeScript> UNSPACED =
      EnumSet.of(
          UnicodeScript.HAN,
          UnicodeScript.HIRAGANA,
          UnicodeScript.KATAKANA,
          UnicodeScript.THAI,
          UnicodeScript.LAO,
          UnicodeScript.KHMER,
          UnicodeScript.MYANMAR,
          UnicodeScript.TIBETAN);

  /**
   * The prompt's length in {@code char}s; both texts begin with it.
   *
   * @param chosen not empty
   * @param rejected not empty
   */
  abstract int split(String chosen, String rejected);

  /** The name as users spell it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** Length of the common beginning, whole code points. */
  private static int firstDifference(String a, String b) {
    int end = Math.min(a.length(), b.length());
    int i = 0;
    while (i < end && a.charAt(i) == b.charAt(i)) {
      i++;
    }
    boolean splitsPair = i > 0 && i < end && Character.isHighSurrogate(a.charAt(i - 1));
    return splitsPair ? i - 1 : i;
  }

  /** Where the last code point of the shorter text begins. */
  private static int lastCodePoint(String a, String b) {
    String shorter = a.length() <= b.length() ? a : b;
    return shorter.offsetByCodePoints(shorter.length(), -1);
  }

  private static int beforeSpace(String text, int split) {
    return split > 0 && text.charAt(split - 1) == ' ' ? split - 1 : split;
  }

  private static boolean insideWord(String text, int split) {
    int before = text.codePointBefore(split);
    int after = text.codePointAt(split);
    return isMark(after)
        || (Character.isLetterOrDigit(after)
            && !UNSPACED.contains(UnicodeScript.of(after))
            && (Character.isLetterOrDigit(before) || isMark(before))
            && !UNSPACED.contains(UnicodeScript.of(before)));
  }

  private static boolean isMark(int codePoint) {
    return switch (Character.getType(codePoint)) {
      case Character.NON_SPACING_MARK, Character.COMBINING_SPACING_MARK, Character.ENCLOSING_MARK ->
          true;
      default -> false;
    };
  }
}
