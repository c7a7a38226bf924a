package dev.gatun.hf;

import dev.gatun.memory.GatunException;
import java.nio.file.Path;

/** A file does not hold what its format, or what Gatun supports of it, asks for. */
public class FormatException extends GatunException {
  private static final long serialVersionUID = 1L;

  private final transient Path file;

  public FormatException(Path file, String message) {
    super(file + ": " + message);
    this.file = file;
  }

  public FormatException(Path file, String message, Throwable cause) {
    super(file + ": " + message, cause);
    this.file = file;
  }

  /** The malformed file. */
  public Path file() {
    return file;
  }
}
