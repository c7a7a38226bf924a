package dev.gatun.train;

import java.util.SplittableRandom;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Lengths that texts are drawn from, each equally likely.
 *
 * @param shortest in tokens
 * @param longest in tokens
 */
public record LengthRange(int shortest, int longest) {
  private static final Pattern TEXT = Pattern.compile("(\\d{1,7})(?::(\\d{1,7}))?");

  public LengthRange {
    if (shortest < 1 || longest < shortest) {
      throw new IllegalArgumentException("lengths from " + shortest + " to " + longest);
    }
  }

  /**
   * Reads {@code 180} or {@code 122:242}.
   *
   * @param option that it is the value of, for the message
   */
  public static LengthRange of(String option, String text) {
    Matcher matcher = TEXT.matcher(text);
    if (matcher.matches()) {
      int shortest = Integer.parseInt(matcher.group(1));
      int longest = matcher.group(2) == null ? shortest : Integer.parseInt(matcher.group(2));
      if (shortest >= 1 && longest >= shortest) {
        return new LengthRange(shortest, longest);
      }
    }
    throw new ConfigException(
        option, "got %s, expected a number of tokens, or two as 122:242".formatted(text));
  }

  int draw(SplittableRandom random) {
    return random.nextInt(shortest, longest + 1);
  }

  /** As {@link #of} reads it. */
  @Override
  public String toString() {
    return shortest == longest ? Integer.toString(shortest) : shortest + ":" + longest;
  }
}
