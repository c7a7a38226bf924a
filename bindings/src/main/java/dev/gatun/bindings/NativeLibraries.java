package dev.gatun.bindings;

import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Loads the libraries behind the generated bindings, each by its path, into this class loader,
 * where the bindings look symbols up.
 *
 * <p>A folder that {@value #PATH_PROPERTY} names is the only one tried. Without it: {@code native/}
 * beside the jar (an installed distribution), then {@code build/native/lib} of the checkout that
 * the classes lie in.
 */
public final class NativeLibraries {
  /** System property: the folder that holds the native libraries. */
  public static final String PATH_PROPERTY = "gatun.native.path";

  /** A file that marks the root of a checkout. */
  private static final String CHECKOUT_MARK = "native/include/gatun_kernels.h";

  private static final String BUILD_FOLDER = "build/native/lib";

  /** Variables by which a user says which cores OpenMP's threads run on. */
  private static final List<String> PLACES =
      List.of("OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY");

  private static @Nullable Path cpuLibrary;
  private static boolean bindsThreads;

  private NativeLibraries() {}

  /**
   * Loads oneDNN and the CPU kernels, once.
   *
   * @return the path of the CPU kernel library
   * @throws NativeLibraryException if either is missing or refused by the system's loader
   */
  public static synchronized Path loadCpu() {
    if (cpuLibrary == null) {
      List<Path> folders = folders(BUILD_FOLDER);
      // A thread that spins for another that the system has preempted takes its turn away: with one
      // other busy process, steps took 4 times as long. Waiting asleep costs nothing measurable.
      ProcessEnvironment.setDefault("OMP_WAIT_POLICY", "passive");
      // First, since the kernel library refers to oneDNN by its bare name.
      load(oneDnnFileName(), folders);
      cpuLibrary = load(System.mapLibraryName("gatun_cpu"), folders);
    }
    return cpuLibrary;
  }

  /**
   * Has OpenMP bind its threads to cores, spread over the machine, when {@link #loadCpu} loads it.
   * The thread that loads it is bound with them.
   *
   * @return whether it does: not where the user's environment says how threads are bound, nor where
   *     it has been loaded before without
   */
  public static synchronized boolean bindThreads() {
    if (cpuLibrary == null && PLACES.stream().allMatch(name -> System.getenv(name) == null)) {
      ProcessEnvironment.setDefault("OMP_PROC_BIND", "spread");
      ProcessEnvironment.setDefault("OMP_PLACES", "cores");
      bindsThreads = true;
    }
    return bindsThreads;
  }

  /** Tries {@code fileName} in each folder, in order. */
  static Path load(String fileName, List<Path> folders) {
    List<String> tried = new ArrayList<>();
    for (Path folder : folders) {
      Path library = folder.resolve(fileName).toAbsolutePath().normalize();
      if (!Files.isRegularFile(library)) {
        tried.add("  " + library + ": no such file");
        continue;
      }
      try {
        System.load(library.toString());
        return library;
      } catch (UnsatisfiedLinkError e) {
        tried.add("  " + library + ": " + e.getMessage());
      }
    }
    throw new NativeLibraryException(
        "native library %s could not be loaded; tried\n%s\nBuild it with ./gatun --version in a checkout, or name its folder with -D%s=..."
            .formatted(fileName, String.join("\n", tried), PATH_PROPERTY));
  }

  /** The folders to search for what a checkout builds in {@code buildFolder}. */
  static List<Path> folders(String buildFolder) {
    return folders(buildFolder, System.getProperty(PATH_PROPERTY), codeLocation());
  }

  /** The folders to search, given the property's value and where this class was loaded from. */
  static List<Path> folders(
      String buildFolder, @Nullable String property, @Nullable Path codeLocation) {
    if (property != null) {
      return List.of(Path.of(property));
    }
    if (codeLocation == null) {
      return List.of(Path.of(buildFolder));
    }
    List<Path> folders = new ArrayList<>();
    Path parent = codeLocation.getParent();
    if (parent != null && Files.isRegularFile(codeLocation)) {
      folders.add(parent.resolve("native"));
    }
    for (Path folder = parent; folder != null; folder = folder.getParent()) {
      if (Files.exists(folder.resolve(CHECKOUT_MARK))) {
        folders.add(folder.resolve(buildFolder));
        break;
      }
    }
    return folders;
  }

  private static @Nullable Path codeLocation() {
    CodeSource source = NativeLibraries.class.getProtectionDomain().getCodeSource();
    try {
      return source == null ? null : Path.of(source.getLocation().toURI());
    } catch (URISyntaxException e) {
      throw new NativeLibraryException("cannot tell where Gatun's classes lie: " + e.getMessage());
    }
  }

  private static String oneDnnFileName() {
    return System.getProperty("os.name").startsWith("Mac") ? "libdnnl.3.dylib" : "libdnnl.so.3";
  }
}
