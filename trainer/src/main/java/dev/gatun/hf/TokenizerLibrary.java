package dev.gatun.hf;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import dev.gatun.library.InstalledLibraries;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/**
 * Hugging Face's tokenizers (Rust) behind DJL's JNI functions, without DJL's own loader: that one
 * looks for a GPU, calls home, downloads, and loads a torn copy from its cache. Here the library's
 * SHA-256 is pinned. A distribution has it as a file; elsewhere it comes from the jar only, and the
 * folder it is unpacked to carries the hash as its name.
 */
final class TokenizerLibrary {
  /** One build of the library in DJL's jar 0.38.0. */
  record Build(String resource, long sizeBytes, String sha256) {
    String fileName() {
      return resource.substring(resource.lastIndexOf('/') + 1);
    }
  }

  static final Map<String, Build> BUILDS =
      Map.of(
          "linux-x86_64",
          new Build(
              "native/lib/linux-x86_64/cpu/libtokenizers.so",
              15_486_960,
              "edf58c92155e0fe4fae5231e782a1f02deeb5881de7bbcd1195f6e25009da90a"),
          "linux-aarch64",
          new Build(
              "native/lib/linux-aarch64/cpu/libtokenizers.so",
              14_127_208,
              "2561672dc37df2704e29eab4049bcfceee5332799bc3b9d85f7d70045b99a610"),
          "osx-aarch64",
          new Build(
              "native/lib/osx-aarch64/cpu/libtokenizers.dylib",
              11_985_344,
              "cca1c15bcbfa47b1c942e9d395ea8353161e5ed709f74826ad5faebcd05544ab"));

  private static final String CACHE_VARIABLE = "GATUN_CACHE_DIR";

  private static @Nullable TokenizersLibrary loaded;
  private static @Nullable Path loadedFrom;

  private TokenizerLibrary() {}

  /**
   * The native functions; loads the library at the first call.
   *
   * @throws TokenizerLibraryException naming every place tried
   */
  static synchronized TokenizersLibrary get() {
    if (loaded == null) {
      load(System.getenv());
      loaded = TokenizersLibrary.LIB;
    }
    return loaded;
  }

  /** The file that the functions were loaded from; loads it at the first call. */
  static synchronized Path file() {
    get();
    return Objects.requireNonNull(loadedFrom);
  }

  private static void load(Map<String, String> environment) {
    Build build = BUILDS.get(platform());
    if (build == null) {
      throw new TokenizerLibraryException(
          "there is no tokenizer library for "
              + platform()
              + ", only for "
              + new TreeSet<>(BUILDS.keySet()));
    }
    Path installed = InstalledLibraries.find(build.fileName());
    if (installed != null) {
      loadInstalled(build, installed);
      return;
    }
    List<String> failures = new ArrayList<>();
    for (Path cache : caches(environment)) {
      if (loads(build, cache.resolve("tokenizers").resolve(build.sha256()), failures)) {
        return;
      }
    }
    // An explicit folder is the only one used; the temporary one is for homes that are read-only
    // or mounted noexec.
    if (!environment.containsKey(CACHE_VARIABLE) && loadsFromTemporary(build, failures)) {
      return;
    }
    throw new TokenizerLibraryException(
        "cannot unpack and load the tokenizer library; tried "
            + String.join("; ", failures)
            + "; set "
            + CACHE_VARIABLE
            + " to a folder that is writable and not mounted noexec");
  }

  /** Loads a distribution's file, which is the right one or the distribution is damaged. */
  @SuppressWarnings("restricted") // what this class is for
  static void loadInstalled(Build build, Path library) {
    try {
      if (!isWhole(build, library)) {
        throw new TokenizerLibraryException(
            "the tokenizer library %s is damaged: expected %d bytes with the SHA-256 %s; unpack the distribution again"
                .formatted(library, build.sizeBytes(), build.sha256()));
      }
      System.load(library.toString());
    } catch (IOException | UnsatisfiedLinkError e) {
      throw new TokenizerLibraryException(
          "cannot load the tokenizer library %s: %s; unpack the distribution where files can be read and are not mounted noexec"
              .formatted(library, Shown.line(e.toString())));
    }
    loadedFrom = library;
  }

  @SuppressWarnings("restricted") // what this class is for
  private static boolean loads(Build build, Path folder, List<String> failures) {
    try {
      Path library = unpack(build, folder);
      System.load(library.toString());
      loadedFrom = library;
      return true;
    } catch (IOException | UnsatisfiedLinkError e) {
      failures.add(folder + ": " + e.toString().replaceAll("\\s*\\R\\s*", " "));
      return false;
    }
  }

  private static boolean loadsFromTemporary(Build build, List<String> failures) {
    Path folder;
    try {
      folder = Files.createTempDirectory("gatun-tokenizers-");
    } catch (IOException e) {
      failures.add(System.getProperty("java.io.tmpdir") + ": " + e);
      return false;
    }
    boolean loads = loads(build, folder, failures);
    deleteTree(folder); // the mapping of a loaded library outlives its file
    return loads;
  }

  private static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String architecture = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    return (os.startsWith("mac") ? "osx" : os.split(" ", 2)[0])
        + "-"
        + switch (architecture) {
          case "amd64", "x86_64" -> "x86_64";
          case "arm64", "aarch64" -> "aarch64";
          default -> architecture;
        };
  }

  /** The folders that may keep the library for the next start. */
  private static List<Path> caches(Map<String, String> environment) {
    String explicit = environment.get(CACHE_VARIABLE);
    if (explicit != null) {
      return List.of(Path.of(explicit).toAbsolutePath());
    }
    String xdg = environment.getOrDefault("XDG_CACHE_HOME", "");
    if (!xdg.isEmpty() && Path.of(xdg).isAbsolute()) { // the XDG specification ignores others
      return List.of(Path.of(xdg, "gatun"));
    }
    Path home = Path.of(System.getProperty("user.home")).toAbsolutePath();
    return List.of(
        platform().startsWith("osx")
            ? home.resolve("Library/Caches/gatun")
            : home.resolve(".cache/gatun"));
  }

  /** The verified library in {@code folder}, unpacked if it is not there or not whole. */
  static Path unpack(Build build, Path folder) throws IOException {
    Path library = folder.resolve(build.fileName());
    if (isWhole(build, library)) {
      return library;
    }
    Files.createDirectories(folder);
    Path partial = Files.createTempFile(folder, "unpacking-", ".part");
    try {
      String sha256 = copy(build, partial);
      if (!sha256.equals(build.sha256())) {
        throw new TokenizerLibraryException(
            "the jar's "
                + build.resource()
                + " has the SHA-256 "
                + sha256
                + ", expected "
                + build.sha256()
                + ": another release of ai.djl.huggingface:tokenizers is on the class path");
      }
      Files.move(
          partial, library, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(partial);
    }
    return library;
  }

  private static boolean isWhole(Build build, Path library) throws IOException {
    if (!Files.isRegularFile(library) || Files.size(library) != build.sizeBytes()) {
      return false;
    }
    MessageDigest digest = sha256();
    try (FileChannel channel = FileChannel.open(library, StandardOpenOption.READ)) {
      ByteBuffer buffer = ByteBuffer.allocate(1 << 16);
      while (channel.read(buffer) >= 0) {
        digest.update(buffer.flip());
        buffer.clear();
      }
    }
    return hex(digest).equals(build.sha256());
  }

  /** Copies the jar's library to {@code file} and to the disk; returns its SHA-256. */
  private static String copy(Build build, Path file) throws IOException {
    MessageDigest digest = sha256();
    try (InputStream in = TokenizersLibrary.class.getResourceAsStream("/" + build.resource());
        DigestOutputStream out = new DigestOutputStream(Files.newOutputStream(file), digest)) {
      if (in == null) {
        throw new IOException("no " + build.resource() + " on the class path");
      }
      in.transferTo(out);
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
    return hex(digest);
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
  }

  private static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  /** Best effort: what cannot be deleted is left to the system's cleaning of temporary files. */
  private static void deleteTree(Path folder) {
    try (var files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.deleteIfExists(file);
      }
      Files.deleteIfExists(folder);
    } catch (IOException _) {
      return;
    }
  }
}
