package dev.gatun.backend;

/** How many threads kernels run on by default. */
final class CpuCores {
  private CpuCores() {}

  /**
   * {@code OMP_NUM_THREADS} if set, else the physical cores that the process may use, but no more
   * than its cgroup gives it time for.
   *
   * @throws BackendUnavailableException if the variable is set to something else than a number
   */
  static int defaultThreads(CpuTopology topology) {
    String variable = System.getenv("OMP_NUM_THREADS");
    return variable == null
        ? available(topology, Runtime.getRuntime().availableProcessors())
        : parse(variable);
  }

  /**
   * @param processors what the Java runtime says, which knows the quota of a cgroup
   */
  static int available(CpuTopology topology, int processors) {
    return Math.min(processors, topology.cores());
  }

  /** The first number of OpenMP's list of numbers, one for each level of nesting. */
  static int parse(String variable) {
    String first = variable.split(",", 2)[0].strip();
    try {
      int threads = Integer.parseInt(first);
      if (threads >= 1) {
        return threads;
      }
    } catch (NumberFormatException _) {
      // Answered below, as 0 is.
    }
    throw new BackendUnavailableException(
        "cpu: OMP_NUM_THREADS is \"" + variable + "\", expected a number of threads >= 1");
  }
}
