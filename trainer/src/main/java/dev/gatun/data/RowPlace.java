package dev.gatun.data;

import java.nio.file.Path;

/**
 * Where something stands in a data file.
 *
 * @param file as the user named it
 * @param line 1-based; 0 where the whole file is meant
 * @param byteOffset 0-based, from the beginning of the file
 */
public record RowPlace(Path file, long line, long byteOffset) {

  /** The file as a whole. */
  public static RowPlace wholeFile(Path file) {
    return new RowPlace(file, 0, 0);
  }

  /** {@code file:line (byte n)}, the form that terminals and editors make a link of. */
  @Override
  public String toString() {
    return line == 0 ? file.toString() : file + ":" + line + " (byte " + byteOffset + ")";
  }
}
