package dev.gatun.op;

import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudaOptions;
import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** One way to run a contract: a backend, its kernels' instruction set, and a storage type. */
record BackendCase(String backend, String isa, DType dtype) {
  /**
   * System property: {@code cpu} or {@code cuda} runs contracts on that alone; what CUDA is,
   * gatun.cuda says. Without it both: CUDA is then the emulated GPU, which the build chooses.
   */
  private static final String BACKEND_PROPERTY = "gatun.test.backend";

  private static final String CUDA = "cuda";

  private static final List<String> CPU_LEVELS = List.of("v2", "v3", "v4", "v4-bf16", "generic");

  /**
   * The one list of backends: what this machine can run or what it is asked for, in f32 and bf16.
   */
  static List<BackendCase> all() {
    String asked = System.getProperty(BACKEND_PROPERTY, "all");
    return switch (asked) {
      case "all" -> Stream.concat(cpu().stream(), cuda().stream()).toList();
      case "cpu" -> cpu();
      case CUDA -> cuda();
      default ->
          throw new IllegalStateException(
              BACKEND_PROPERTY + " is '" + asked + "', expected all, cpu or cuda");
    };
  }

  private static List<BackendCase> cuda() {
    return List.of(new BackendCase(CUDA, "", DType.F32), new BackendCase(CUDA, "", DType.BF16));
  }

  private static List<BackendCase> cpu() {
    List<BackendCase> cases = new ArrayList<>();
    for (String isa : CPU_LEVELS) {
      if (cpuHas(isa)) {
        cases.add(new BackendCase("cpu", isa, DType.F32));
        cases.add(new BackendCase("cpu", isa, DType.BF16));
      }
    }
    if (cases.isEmpty()) {
      throw new IllegalStateException("no CPU level of " + CPU_LEVELS + " runs here");
    }
    return cases;
  }

  private static boolean cpuHas(String isa) {
    try {
      CpuBackend.create(new CpuOptions(1, isa)).close();
      return true;
    } catch (BackendUnavailableException e) {
      if (e.getMessage().startsWith("cpu: native library")) {
        throw e; // Nothing was built: a failure, not a reason to test less.
      }
      return false;
    }
  }

  /** Opens the backend, on the CPU with a number of threads. */
  Backend open(int threads) {
    return backend.equals(CUDA)
        ? CudaBackend.create(CudaOptions.DEFAULT.withCacheFolder(null))
        : CpuBackend.create(new CpuOptions(threads, isa));
  }

  @Override
  public String toString() {
    return isa.isEmpty() ? backend + " " + dtype : backend + " " + isa + " " + dtype;
  }
}
