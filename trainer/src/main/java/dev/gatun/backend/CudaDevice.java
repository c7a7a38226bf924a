package dev.gatun.backend;

import dev.gatun.bindings.cuda.CudaRuntime;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A GPU.
 *
 * @param computeCapability ten times the major version plus the minor one: 90 is sm_90
 * @param multiprocessors number of streaming multiprocessors
 */
public record CudaDevice(
    int index,
    String name,
    int computeCapability,
    int multiprocessors,
    long freeBytes,
    long totalBytes) {
  // cudaDeviceProp differs between versions of CUDA in all but its beginning, char name[256]. No
  // version's is as long as this.
  private static final long PROPERTIES_BYTES = 1 << 14;

  /** The GPU's facts now; it becomes the calling thread's current one. */
  static CudaDevice current(int index) {
    CudaStatus.check("cudaSetDevice", CudaRuntime.cudaSetDevice(index));
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment properties = arena.allocate(PROPERTIES_BYTES, 64);
      CudaStatus.check(
          "cudaGetDeviceProperties", CudaRuntime.cudaGetDeviceProperties(properties, index));
      MemorySegment free = arena.allocate(ValueLayout.JAVA_LONG);
      MemorySegment total = arena.allocate(ValueLayout.JAVA_LONG);
      CudaStatus.check("cudaMemGetInfo", CudaRuntime.cudaMemGetInfo(free, total));
      return new CudaDevice(
          index,
          properties.getString(0),
          10 * attribute(CudaRuntime.cudaDevAttrComputeCapabilityMajor(), index)
              + attribute(CudaRuntime.cudaDevAttrComputeCapabilityMinor(), index),
          attribute(CudaRuntime.cudaDevAttrMultiProcessorCount(), index),
          free.get(ValueLayout.JAVA_LONG, 0),
          total.get(ValueLayout.JAVA_LONG, 0));
    }
  }

  /** Free memory of the calling thread's current device. */
  static long currentFreeBytes() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment free = arena.allocate(ValueLayout.JAVA_LONG);
      MemorySegment total = arena.allocate(ValueLayout.JAVA_LONG);
      CudaStatus.check("cudaMemGetInfo", CudaRuntime.cudaMemGetInfo(free, total));
      return free.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /** How many GPUs there are; the runtime's error if it finds none. */
  static int count() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
      CudaStatus.check("cudaGetDeviceCount", CudaRuntime.cudaGetDeviceCount(count));
      return count.get(ValueLayout.JAVA_INT, 0);
    }
  }

  /** The newest CUDA that the driver knows: {@code 13.0}; {@code none} without a driver. */
  static String driverVersion() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment version = arena.allocate(ValueLayout.JAVA_INT);
      CudaStatus.check("cudaDriverGetVersion", CudaRuntime.cudaDriverGetVersion(version));
      return version(version.get(ValueLayout.JAVA_INT, 0));
    }
  }

  /** The version of the CUDA runtime. */
  static String runtimeVersion() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment version = arena.allocate(ValueLayout.JAVA_INT);
      CudaStatus.check("cudaRuntimeGetVersion", CudaRuntime.cudaRuntimeGetVersion(version));
      return version(version.get(ValueLayout.JAVA_INT, 0));
    }
  }

  /** CUDA counts 13.0 as 13000, and no driver as 0. */
  private static String version(int version) {
    return version == 0 ? "none" : "%d.%d".formatted(version / 1000, version % 1000 / 10);
  }

  private static int attribute(int attribute, int index) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
      CudaStatus.check(
          "cudaDeviceGetAttribute", CudaRuntime.cudaDeviceGetAttribute(value, attribute, index));
      return value.get(ValueLayout.JAVA_INT, 0);
    }
  }
}
