package dev.gatun.backend;

import java.lang.foreign.MemorySegment;
import java.util.function.UnaryOperator;

/** A CPU backend that calls another kernel table than the library's. */
public final class OtherKernels {
  private OtherKernels() {}

  /** As {@link CpuBackend#create}, with the table that {@code kernels} makes of the library's. */
  public static CpuBackend backend(CpuOptions options, UnaryOperator<MemorySegment> kernels) {
    Hwloc hwloc = Hwloc.ofThisProcess();
    return CpuBackend.create(options, hwloc, hwloc.topology(), kernels);
  }
}
