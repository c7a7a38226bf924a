package dev.gatun.hf;

import java.nio.charset.StandardCharsets;

/**
 * The printable characters that stand for the 256 bytes in a byte-level vocabulary (GPT-2's {@code
 * bytes_to_unicode}): printable Latin-1 stands for itself, the others follow from U+0100 on.
 */
final class ByteAlphabet {
  private static final char[] CHARACTERS = characters();

  private ByteAlphabet() {}

  private static char[] characters() {
    char[] characters = new char[256];
    char next = 256;
    for (int b = 0; b < 256; b++) {
      boolean printable =
          (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
      characters[b] = printable ? (char) b : next++;
    }
    return characters;
  }

  /** The character of {@code b}, an unsigned byte. */
  static char character(int b) {
    return CHARACTERS[b];
  }

  /** The UTF-8 bytes of {@code text}, each as its character. */
  static String spell(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    StringBuilder spelled = new StringBuilder(bytes.length);
    for (byte b : bytes) {
      spelled.append(CHARACTERS[b & 0xff]);
    }
    return spelled.toString();
  }
}
