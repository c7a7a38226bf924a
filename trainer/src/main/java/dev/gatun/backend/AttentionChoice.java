package dev.gatun.backend;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What was measured once of both providers of attention, forward and backward together, in
 * milliseconds.
 */
record AttentionChoice(float cudnnMillis, float gatunMillis) {
  private static final Pattern TEXT =
      Pattern.compile("cudnn (\\d{1,9}\\.\\d{4}) ms, gatun (\\d{1,9}\\.\\d{4}) ms");

  boolean isCudnn() {
    return cudnnMillis < gatunMillis;
  }

  /** The choice of this text, or null if it is none. */
  static @Nullable AttentionChoice parse(String text) {
    Matcher matcher = TEXT.matcher(text);
    return matcher.matches()
        ? new AttentionChoice(
            Float.parseFloat(matcher.group(1)), Float.parseFloat(matcher.group(2)))
        : null;
  }

  /** For files and people. */
  @Override
  public String toString() {
    return String.format(Locale.ROOT, "cudnn %.4f ms, gatun %.4f ms", cudnnMillis, gatunMillis);
  }
}
