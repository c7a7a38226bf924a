package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Turns what cuDNN's functions return into exceptions. */
final class CudnnStatus {
  /** Longer messages are cut by cuDNN. */
  private static final int MESSAGE_BYTES = 1024;

  private CudnnStatus() {}

  /**
   * Throws if {@code status} is a failure.
   *
   * @param function what was called, and on what
   * @throws NativeException with the symbolic name and the thread's last error text. Why an engine
   *     was refused is in neither: CUDNN_LOGLEVEL_DBG=2 and CUDNN_LOGDEST_DBG=stderr show it
   */
  static void check(String function, int status) {
    if (status != Cudnn.CUDNN_STATUS_SUCCESS()) {
      throw new NativeException(
          function, status, Cudnn.cudnnGetErrorString(status).getString(0), lastError());
    }
  }

  private static String lastError() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment text = arena.allocate(MESSAGE_BYTES);
      Cudnn.cudnnGetLastErrorString(text, text.byteSize());
      String message = text.getString(0).strip();
      return message.isEmpty() ? "no text" : message;
    }
  }
}
