package dev.gatun.op;

import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.List;

/** One way to run a contract: a backend, its kernels' instruction set, and a storage type. */
record BackendCase(String backend, String isa, DType dtype) {
  private static final List<String> CPU_LEVELS = List.of("v2", "v3", "v4", "v4-bf16", "generic");

  /** The one list of backends: what this machine can run, in f32 and bf16. */
  static List<BackendCase> all() {
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

  /** Opens the backend with a number of threads. */
  Backend open(int threads) {
    return CpuBackend.create(new CpuOptions(threads, isa));
  }

  @Override
  public String toString() {
    return backend + " " + isa + " " + dtype;
  }
}
