package dev.gatun.hf;

import dev.gatun.memory.GatunException;

/** A text that is not valid Unicode, and so has no UTF-8 bytes and no tokens. */
public class UnencodableTextException extends GatunException {
  private static final long serialVersionUID = 1L;

  private final int index;

  UnencodableTextException(String text, int index) {
    super(
        String.format(
            "the text has the lone surrogate \\u%04x at index %d of %d, expected valid Unicode:"
                + " the other half of the character was cut off",
            (int) text.charAt(index), index, text.length()));
    this.index = index;
  }

  /** Where the first lone surrogate is, in {@code char} units. */
  public int index() {
    return index;
  }
}
