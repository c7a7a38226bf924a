package dev.gatun.backend;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;

/** How many threads kernels run on by default. */
final class CpuCores {
  private CpuCores() {}

  /**
   * {@code OMP_NUM_THREADS} if set, else the physical cores that the process may use.
   *
   * @throws BackendUnavailableException if the variable is set to something else than a number
   */
  static int defaultThreads() {
    String variable = System.getenv("OMP_NUM_THREADS");
    return variable == null ? available() : parse(variable);
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

  private static int available() {
    int processors = Runtime.getRuntime().availableProcessors(); // Knows affinity and cgroups.
    int cores = physicalCores(Path.of("/proc/self/status"), Path.of("/sys/devices/system/cpu"));
    return cores == 0 ? processors : Math.min(processors, cores);
  }

  /**
   * Cores with at least one allowed hardware thread; 0 if the system does not say (it is not
   * Linux).
   */
  static int physicalCores(Path status, Path cpus) {
    try {
      Set<String> siblings = new TreeSet<>();
      for (String line : Files.readAllLines(status)) {
        if (line.startsWith("Cpus_allowed_list:")) {
          for (int cpu : list(line.substring(line.indexOf(':') + 1))) {
            Path topology = cpus.resolve("cpu" + cpu + "/topology/thread_siblings_list");
            siblings.add(Files.readString(topology).strip());
          }
        }
      }
      return siblings.size();
    } catch (IOException | NumberFormatException _) {
      return 0;
    }
  }

  /** The numbers of a list like {@code 0-3,8}. */
  static Set<Integer> list(String text) {
    Set<Integer> numbers = new TreeSet<>();
    for (String range : text.strip().split(",", -1)) {
      String[] ends = range.split("-", 2);
      int last = Integer.parseInt(ends[ends.length - 1]);
      for (int i = Integer.parseInt(ends[0]); i <= last; i++) {
        numbers.add(i);
      }
    }
    return numbers;
  }
}
