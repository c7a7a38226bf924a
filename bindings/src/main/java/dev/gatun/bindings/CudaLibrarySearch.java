package dev.gatun.bindings;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Where NVIDIA's libraries may lie, in the order in which they are tried: {@code --cuda_home},
 * {@code CUDA_HOME}, {@code CUDA_PATH}, {@code CUDNN_HOME}, {@code LD_LIBRARY_PATH}, {@code
 * /usr/local/cuda}, the system's folders, conda's environment, what pip installed, and the folder
 * of Gatun's kernels.
 */
final class CudaLibrarySearch {
  /** Below the home of a toolkit, of conda or of a package. */
  private static final List<String> LIBRARY_FOLDERS =
      List.of("lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib");

  private static final List<String> SYSTEM_FOLDERS =
      List.of("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64");

  private final @Nullable Path cudaHome;
  private final Map<String, String> environment;
  private final Path root;
  private final List<Place> places = new ArrayList<>();
  private final Set<Path> seen = new HashSet<>();

  /** A folder and why it is looked into. */
  record Place(Path folder, String origin) {}

  private CudaLibrarySearch(@Nullable Path cudaHome, Map<String, String> environment, Path root) {
    this.cudaHome = cudaHome;
    this.environment = environment;
    this.root = root;
  }

  /**
   * The places of this process.
   *
   * @param cudaHome what the user named, or null
   */
  static List<Place> places(@Nullable Path cudaHome) {
    List<Place> places = new ArrayList<>(places(cudaHome, System.getenv(), Path.of("/")));
    // A distribution has the CUDA runtime; last, since cuBLASLt is best with that of its release.
    for (Path folder : NativeLibraries.folders(CudaLibraries.BUILD_FOLDER)) {
      if (Files.isDirectory(folder)) {
        places.add(new Place(folder.toAbsolutePath().normalize(), "beside Gatun's kernels"));
      }
    }
    return List.copyOf(places);
  }

  /**
   * The places under a file system that begins at {@code root}. Folders that do not exist are left
   * out, except those that the user named.
   */
  static List<Place> places(@Nullable Path cudaHome, Map<String, String> environment, Path root) {
    return new CudaLibrarySearch(cudaHome, environment, root).collect();
  }

  private List<Place> collect() {
    if (cudaHome != null) {
      addHome(cudaHome, "--cuda_home");
    }
    for (String name : List.of("CUDA_HOME", "CUDA_PATH", "CUDNN_HOME")) {
      variable(name, value -> addHome(Path.of(value), name));
    }
    variable(
        "LD_LIBRARY_PATH",
        value -> {
          for (String folder : value.split(File.pathSeparator, -1)) {
            if (!folder.isEmpty()) {
              add(Path.of(folder), "LD_LIBRARY_PATH");
            }
          }
        });
    addHome(root.resolve("usr/local/cuda"), "the toolkit's default");
    for (String folder : SYSTEM_FOLDERS) {
      addIfThere(root.resolve(folder), "the system");
    }
    variable("CONDA_PREFIX", value -> addHome(Path.of(value), "CONDA_PREFIX"));
    variable("VIRTUAL_ENV", value -> addPython(Path.of(value, "lib"), "pip, VIRTUAL_ENV"));
    variable("CONDA_PREFIX", value -> addPython(Path.of(value, "lib"), "pip, CONDA_PREFIX"));
    variable(
        "PYTHONPATH",
        value -> {
          for (String folder : value.split(File.pathSeparator, -1)) {
            if (!folder.isEmpty()) {
              addPackages(Path.of(folder), "pip, PYTHONPATH");
            }
          }
        });
    variable("HOME", value -> addPython(Path.of(value, ".local/lib"), "pip, the user's"));
    addPython(root.resolve("usr/local/lib"), "pip, the system's");
    addPython(root.resolve("usr/lib"), "pip, the system's");
    return List.copyOf(places);
  }

  private void variable(String name, Consumer<String> then) {
    String value = environment.get(name);
    if (value != null && !value.isBlank()) {
      then.accept(value);
    }
  }

  private void addHome(Path home, String origin) {
    boolean found = false;
    for (String folder : LIBRARY_FOLDERS) {
      found |= addIfThere(home.resolve(folder), origin);
    }
    if (!found) {
      add(home.resolve(LIBRARY_FOLDERS.getFirst()), origin);
    }
  }

  /** pip's packages below {@code lib/python3.*}. */
  private void addPython(Path lib, String origin) {
    for (Path python : children(lib, "python3*")) {
      addPackages(python.resolve("site-packages"), origin);
      addPackages(python.resolve("dist-packages"), origin);
    }
  }

  private void addPackages(Path packages, String origin) {
    for (Path nvidia : children(packages.resolve("nvidia"), "*")) {
      addIfThere(nvidia.resolve("lib"), origin);
    }
  }

  private boolean addIfThere(Path folder, String origin) {
    if (!Files.isDirectory(folder)) {
      return false;
    }
    add(folder, origin);
    return true;
  }

  private void add(Path folder, String origin) {
    Path normal = folder.toAbsolutePath().normalize();
    if (seen.add(real(normal))) {
      places.add(new Place(normal, origin));
    }
  }

  /** Toolkits have several names for one folder. */
  private static Path real(Path folder) {
    try {
      return folder.toRealPath();
    } catch (IOException e) {
      return folder; // It is not there, or not ours to look into, which the loader will say.
    }
  }

  private static List<Path> children(Path folder, String glob) {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    List<Path> children = new ArrayList<>();
    try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, glob)) {
      stream.forEach(children::add);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot list " + folder + ": " + e.getMessage(), e);
    }
    children.sort(null);
    return children;
  }
}
