package dev.gatun.train;

import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The optimizer steps that a profiler records, counted from 1.
 *
 * @param first recording begins before it
 * @param last recording ends after it
 */
public record ProfileSteps(long first, long last) {
  private static final Pattern RANGE = Pattern.compile("(\\d{1,9}):(\\d{1,9})");

  public ProfileSteps {
    Check.that(
        "profile_steps",
        1 <= first && first <= last,
        first + ":" + last,
        "the first step, at least 1, and the last, no smaller");
  }

  /** Reads {@code FIRST:LAST}. */
  public static ProfileSteps fromName(String name) {
    Matcher range = RANGE.matcher(name);
    if (!range.matches()) {
      throw new ConfigException(
          "profile_steps", "got %s, expected FIRST:LAST, e.g. 10:12".formatted(name));
    }
    return new ProfileSteps(Long.parseLong(range.group(1)), Long.parseLong(range.group(2)));
  }

  /** The range as users spell it. */
  @Override
  public String toString() {
    return first + ":" + last;
  }
}
