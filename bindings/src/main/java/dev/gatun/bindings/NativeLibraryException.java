package dev.gatun.bindings;

/** A native library was not found or not accepted; the message lists every place and the remedy. */
public final class NativeLibraryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  NativeLibraryException(String message) {
    super(message);
  }
}
