package dev.gatun.backend;

/** Bytes of a device's memory that a backend takes besides what it is asked for. */
public interface BackendMemory {
  /** Of the workspace that {@link Backend#reserveWorkspace} makes. */
  long workspaceBytes(long rows, long columns);

  /** Of the workspace of matrix products. */
  long matmulBytes();

  /**
   * That of a GPU, which need not be here.
   *
   * @param computeCapability 90 for sm_90
   */
  static BackendMemory ofGpu(int computeCapability) {
    return new CudaMemory(computeCapability);
  }
}
