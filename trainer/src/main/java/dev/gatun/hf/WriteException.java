package dev.gatun.hf;

import dev.gatun.memory.GatunException;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** A file or folder cannot be written: no space, no permission, a failing disk. */
public final class WriteException extends GatunException {
  private static final long serialVersionUID = 1L;

  private final transient Path file;

  WriteException(Path file, String message) {
    super(file + ": " + message);
    this.file = file;
  }

  WriteException(Path file, String message, Throwable cause) {
    super(file + ": " + message, cause);
    this.file = file;
  }

  /** What could not be written. */
  public Path file() {
    return file;
  }

  /** Why an operation on a file failed, in words. */
  static String reason(IOException e) {
    return switch (e) {
      case AccessDeniedException _ -> "permission denied";
      case NoSuchFileException missing -> missing.getFile() + " does not exist";
      case FileSystemException failed when failed.getReason() != null ->
          Shown.line(failed.getReason());
      default -> Shown.line(String.valueOf(e.getMessage()));
    };
  }
}
