package dev.gatun.benchmarks;

import dev.gatun.bindings.NativeLibraries;
import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.bindings.kernels.gatun_kernels;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What a call through the kernel table costs beside a call of a function whose address the JIT
 * knows. The function is {@code workspace_bytes}, which does next to nothing.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(value = 3, jvmArgsAppend = "--enable-native-access=ALL-UNNAMED")
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class CallBenchmark {
  private static final MemorySegment TABLE = table();
  private static final MethodHandle DIRECT =
      Linker.nativeLinker()
          .downcallHandle(
              gatun_kernels.workspace_bytes(TABLE), gatun_kernels.workspace_bytes.descriptor());

  private long rows = 1024;
  private long columns = 4096;

  private static MemorySegment table() {
    var _ = NativeLibraries.loadCpu();
    return GatunNative.gatun_cpu_kernels(MemorySegment.NULL)
        .reinterpret(gatun_kernels.layout().byteSize());
  }

  /** A downcall handle bound to the address. */
  @Benchmark
  public long direct() throws Throwable {
    return (long) DIRECT.invokeExact(rows, columns);
  }

  /** As {@code Backend} calls kernels: the pointer is read from the table at each call. */
  @Benchmark
  public long throughTable() {
    return gatun_kernels.workspace_bytes.invoke(
        gatun_kernels.workspace_bytes(TABLE), rows, columns);
  }
}
