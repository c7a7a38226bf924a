package dev.gatun.backend;

import dev.gatun.bindings.cublaslt.CublasLt;
import dev.gatun.bindings.cuda.CudaRuntime;
import java.lang.foreign.MemorySegment;

/** Turns what NVIDIA's functions return into exceptions. */
final class CudaStatus {
  private static final String REMEDY =
      "; the device is lost to this process, and an operation before this one may have done it:"
          + " run again with --debug_sync, which names it";

  private CudaStatus() {}

  /** Requires success of a function of the CUDA runtime. */
  static void check(String function, int status) {
    if (status != CudaRuntime.cudaSuccess()) {
      throw exception(function, status);
    }
  }

  /** The failure of a function of the CUDA runtime. */
  static NativeException exception(String function, int status) {
    return new NativeException(
        function,
        status,
        string(CudaRuntime.cudaGetErrorName(status)),
        string(CudaRuntime.cudaGetErrorString(status)) + advice());
  }

  /** Requires success of a function of cuBLASLt. */
  static void checkCublasLt(String function, int status) {
    if (status != CublasLt.CUBLAS_STATUS_SUCCESS()) {
      throw new NativeException(
          function,
          status,
          string(CublasLt.cublasLtGetStatusName(status)),
          string(CublasLt.cublasLtGetStatusString(status)) + advice());
    }
  }

  /** What to add to a message after a failure: a remedy if the error stays, else nothing. */
  static String advice() {
    int _ = CudaRuntime.cudaDeviceSynchronize(); // Refused while a graph is captured.
    int _ = CudaRuntime.cudaGetLastError(); // Forgets what does not stay.
    return CudaRuntime.cudaGetLastError() == CudaRuntime.cudaSuccess() ? "" : REMEDY;
  }

  private static String string(MemorySegment text) {
    return text.equals(MemorySegment.NULL) ? "?" : text.getString(0);
  }
}
