package dev.gatun.backend;

import dev.gatun.memory.Buffer;

/**
 * The memory that {@link CudaBackend} takes, without CUDA.
 *
 * @param computeCapability 90 for sm_90
 */
record CudaMemory(int computeCapability) implements BackendMemory {
  // kernels/src/reduction.h: partial sums of a gradient of so many columns.
  private static final long MOST_PARTIAL_ROWS = 1024;
  private static final long MOST_PARTIAL_FLOATS = 1L << 21;

  /** NVIDIA's advice for cuBLASLt: 32 MiB from Hopper on, 4 MiB before. */
  private static final long MATMUL_BYTES = 32L << 20;

  private static final long OLDER_MATMUL_BYTES = 4L << 20;

  /** As {@code workspace_bytes} of kernels/src/table.cu. */
  @Override
  public long workspaceBytes(long rows, long columns) {
    long width = Math.max(columns, 1);
    long partialFloats =
        width > MOST_PARTIAL_FLOATS
            ? width
            : Math.min(MOST_PARTIAL_FLOATS, MOST_PARTIAL_ROWS * width);
    long bytes = (256L << 10) + 2 * partialFloats * Float.BYTES + 64 * Math.max(rows, 1);
    return Math.ceilDiv(bytes, Buffer.ALIGNMENT_BYTES) * Buffer.ALIGNMENT_BYTES;
  }

  @Override
  public long matmulBytes() {
    return computeCapability >= 90 ? MATMUL_BYTES : OLDER_MATMUL_BYTES;
  }
}
