package dev.gatun.bindings;

import dev.gatun.bindings.CudaLibrarySearch.Place;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Loads what the CUDA backend calls: NVIDIA's libraries and Gatun's kernels for them, or, for
 * tests, one library that emulates all of it on the CPU. The generated bindings look a symbol up
 * once, so a process has one of the two, for good.
 */
public final class CudaLibraries {
  /** System property: {@code device} (the default) or {@code simt}. */
  public static final String PROVIDER_PROPERTY = "gatun.cuda";

  static final String BUILD_FOLDER = "build/kernels/lib";

  private static @Nullable Loaded loaded;
  private static @Nullable Path cudnn;

  /** Who answers CUDA calls. */
  public enum Provider {
    /** An NVIDIA GPU. */
    DEVICE("gatun_cuda"),
    /** The emulation of one on the CPU. */
    SIMT("gatun_simt");

    private final String libraryName;

    Provider(String libraryName) {
      this.libraryName = libraryName;
    }

    /** The file of Gatun's kernels. */
    String fileName() {
      return System.mapLibraryName(libraryName);
    }
  }

  /**
   * What this process loaded.
   *
   * @param kernels Gatun's kernels
   * @param libraries NVIDIA's; none if they are emulated
   */
  public record Loaded(Provider provider, Path kernels, Map<CudaLibrary, Path> libraries) {
    public Loaded {
      libraries = Map.copyOf(libraries);
    }
  }

  /**
   * What a search came upon, without loading it.
   *
   * @param file null if there is none
   * @param message the file and why it was looked for there, or the places and the remedy
   */
  public record Finding(@Nullable Path file, String message) {}

  private CudaLibraries() {}

  /**
   * The provider that {@value #PROVIDER_PROPERTY} names.
   *
   * @throws NativeLibraryException if it names neither
   */
  public static Provider provider() {
    String name = System.getProperty(PROVIDER_PROPERTY, "device");
    return switch (name) {
      case "device" -> Provider.DEVICE;
      case "simt" -> Provider.SIMT;
      default ->
          throw new NativeLibraryException(
              "system property %s is '%s', expected device or simt"
                  .formatted(PROVIDER_PROPERTY, name));
    };
  }

  /**
   * Loads a provider's libraries, once.
   *
   * @param cudaHome folder to look for NVIDIA's libraries in first, or null
   * @throws NativeLibraryException if one is missing or refused by the system's loader, or the
   *     process has loaded the other provider
   */
  public static synchronized Loaded load(Provider provider, @Nullable Path cudaHome) {
    if (loaded == null) {
      loaded =
          switch (provider) {
            case DEVICE -> loadDevice(cudaHome);
            case SIMT -> {
              // As for the CPU library: threads that wait must not spin.
              ProcessEnvironment.setDefault("OMP_WAIT_POLICY", "passive");
              yield new Loaded(provider, loadKernels(provider), Map.of());
            }
          };
    }
    if (loaded.provider() != provider) {
      throw new NativeLibraryException(
          "this process has loaded %s, which answers all its CUDA calls; start another process for %s"
              .formatted(loaded.kernels(), provider.fileName()));
    }
    return loaded;
  }

  /**
   * Loads cuDNN beside the libraries of {@link #load}, once.
   *
   * @throws NativeLibraryException if it is missing, or CUDA is emulated
   */
  public static synchronized Path loadCudnn(@Nullable Path cudaHome) {
    if (cudnn == null) {
      // First what it refers to by bare names.
      load(Provider.DEVICE, cudaHome);
      cudnn =
          open(CudaLibrary.CUDNN, CudaLibrary.CUDNN.versions(), CudaLibrarySearch.places(cudaHome));
    }
    return cudnn;
  }

  /** Looks for a library of NVIDIA's in the places from which it would be loaded. */
  public static Finding find(CudaLibrary library, @Nullable Path cudaHome) {
    List<Place> places = CudaLibrarySearch.places(cudaHome);
    for (Place place : places) {
      for (int version : library.versions()) {
        Path file = place.folder().resolve(library.fileName(version));
        if (Files.isRegularFile(file)) {
          return new Finding(file, "%s (%s)".formatted(file, place.origin()));
        }
      }
    }
    List<String> tried = places.stream().map(CudaLibraries::missing).toList();
    return new Finding(null, miss(library, library.versions(), tried));
  }

  /** Looks for Gatun's own kernels. */
  public static Finding findKernels(Provider provider) {
    List<Path> folders = NativeLibraries.folders(BUILD_FOLDER);
    for (Path folder : folders) {
      Path file = folder.resolve(provider.fileName()).toAbsolutePath().normalize();
      if (Files.isRegularFile(file)) {
        return new Finding(file, file.toString());
      }
    }
    return new Finding(
        null,
        "this build has no %s in %s; native/build.sh cuda makes it, where the CUDA toolkit is"
            .formatted(provider.fileName(), folders));
  }

  private static Loaded loadDevice(@Nullable Path cudaHome) {
    Finding kernels = findKernels(Provider.DEVICE);
    if (kernels.file() == null) {
      throw new NativeLibraryException(kernels.message());
    }
    // The kernels were linked to one major version of the runtime; cuBLASLt is of the same.
    List<Integer> versions = runtimeVersions(kernels.file());
    List<Place> places = CudaLibrarySearch.places(cudaHome);
    Map<CudaLibrary, Path> libraries = new EnumMap<>(CudaLibrary.class);
    for (CudaLibrary library : List.of(CudaLibrary.RUNTIME, CudaLibrary.CUBLASLT)) {
      libraries.put(library, open(library, versions, places));
    }
    return new Loaded(Provider.DEVICE, loadKernels(Provider.DEVICE), libraries);
  }

  private static Path loadKernels(Provider provider) {
    return NativeLibraries.load(provider.fileName(), NativeLibraries.folders(BUILD_FOLDER));
  }

  /** Loads the first file that the system's loader accepts. */
  static Path open(CudaLibrary library, List<Integer> versions, List<Place> places) {
    List<String> tried = new ArrayList<>();
    for (Place place : places) {
      boolean found = false;
      for (int version : versions) {
        Path file = place.folder().resolve(library.fileName(version));
        if (!Files.isRegularFile(file)) {
          continue;
        }
        found = true;
        try {
          System.load(file.toString());
          return file;
        } catch (UnsatisfiedLinkError e) {
          tried.add("  %s (%s): %s".formatted(file, place.origin(), e.getMessage()));
        }
      }
      if (!found) {
        tried.add(missing(place));
      }
    }
    throw new NativeLibraryException(miss(library, versions, tried));
  }

  private static String missing(Place place) {
    return "  %s (%s): not there".formatted(place.folder(), place.origin());
  }

  private static String miss(CudaLibrary library, List<Integer> versions, List<String> tried) {
    return "%s could not be loaded; looked for %s in\n%s\nRemedy: %s; or name the toolkit's folder with --cuda_home"
        .formatted(
            library.title(),
            String.join(" and ", versions.stream().map(library::fileName).toList()),
            String.join("\n", tried),
            library.remedy());
  }

  /** The versions of the CUDA runtime that a kernel library can use: the one it names. */
  static List<Integer> runtimeVersions(Path kernels) {
    byte[] prefix = CudaLibrary.RUNTIME.fileNamePrefix().getBytes(StandardCharsets.US_ASCII);
    byte[] bytes;
    try {
      bytes = Files.readAllBytes(kernels);
    } catch (IOException e) {
      throw new UncheckedIOException("cannot read " + kernels + ": " + e.getMessage(), e);
    }
    for (int version : CudaLibrary.RUNTIME.versions()) {
      byte[] name =
          (CudaLibrary.RUNTIME.fileName(version) + "\0").getBytes(StandardCharsets.US_ASCII);
      if (indexOf(bytes, name) >= 0) {
        return List.of(version);
      }
    }
    if (indexOf(bytes, prefix) >= 0) {
      throw new NativeLibraryException(
          "%s was linked to a CUDA runtime of another version than %s; rebuild it with native/build.sh cuda"
              .formatted(kernels, CudaLibrary.RUNTIME.versions()));
    }
    return CudaLibrary.RUNTIME.versions();
  }

  private static int indexOf(byte[] bytes, byte[] wanted) {
    for (int i = 0; i <= bytes.length - wanted.length; i++) {
      int k = 0;
      while (k < wanted.length && bytes[i + k] == wanted[k]) {
        k++;
      }
      if (k == wanted.length) {
        return i;
      }
    }
    return -1;
  }
}
