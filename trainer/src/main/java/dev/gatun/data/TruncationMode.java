package dev.gatun.data;

import java.util.Locale;

/** Which end of a sequence longer than {@code max_length} is kept. */
public enum TruncationMode {
  /** The beginning: answers lose their end, and a row whose prompt fills it all is dropped. */
  KEEP_START,
  /** The end: the prompt loses its beginning, the same tokens for both answers of a pair. */
  KEEP_END;

  /** The name as users spell it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
