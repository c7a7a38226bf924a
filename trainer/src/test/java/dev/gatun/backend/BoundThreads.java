package dev.gatun.backend;

import dev.gatun.memory.Buffer;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/**
 * A process whose backend takes this machine for one of two NUMA nodes, since OpenMP reads how to
 * bind threads only when it is loaded. Prints {@code KEY VALUE} lines for {@link BoundThreadsTest}.
 */
final class BoundThreads {
  private BoundThreads() {}

  public static void main(String[] args) throws Exception {
    Hwloc hwloc = Hwloc.ofThisProcess();
    CpuTopology real = hwloc.topology();
    CpuTopology numa =
        new CpuTopology(1, List.of(0, 1), real.cores(), real.hardwareThreads(), List.of());
    int processors = Runtime.getRuntime().availableProcessors();
    String mask = mask(Path.of("/proc/thread-self"));
    try (CpuBackend backend =
            CpuBackend.create(
                new CpuOptions(numa.cores(), null), hwloc, numa, UnaryOperator.identity());
        Buffer buffer = backend.allocate("x", 1 << 22)) {
      Tensor x = new Tensor("x", DType.F32, new long[] {1 << 20}, buffer, 0);
      // On all threads of the pool.
      backend.kernels().residualForward(x, x, x, x.elementCount(), DType.F32);
      System.out.println("description " + backend.description());
    }
    Thread child = Thread.ofPlatform().start(() -> print("child ", mask, processors));
    child.join();
    print("main ", mask, processors);
    System.out.println("cores " + real.cores());
    System.out.println("bound " + boundThreads(mask));
  }

  private static void print(String name, String mask, int processors) {
    boolean asBefore =
        Runtime.getRuntime().availableProcessors() == processors
            && mask(Path.of("/proc/thread-self")).equals(mask);
    System.out.println(name + (asBefore ? "free" : "bound"));
  }

  /** Threads of this process with another mask than it began with. */
  private static long boundThreads(String mask) throws IOException {
    try (Stream<Path> threads = Files.list(Path.of("/proc/self/task"))) {
      return threads.filter(thread -> !mask(thread).equals(mask)).count();
    }
  }

  private static String mask(Path thread) {
    try {
      return Files.readAllLines(thread.resolve("status")).stream()
          .filter(line -> line.startsWith("Cpus_allowed_list:"))
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new IllegalStateException(thread.toString(), e);
    }
  }
}
