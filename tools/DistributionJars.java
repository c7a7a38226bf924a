import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.Comparator;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * Copies jars into a distribution: {@code java DistributionJars.java LIBRARIES SECONDS FROM... TO}.
 *
 * <p>The native libraries of this platform go to the folder LIBRARIES as files, those of others
 * nowhere. What is left of a jar goes to the folder TO, if it has classes: not compressed, since
 * the archive will be, sorted, and with one time for all, so that the same content gives the same
 * bytes.
 */
final class DistributionJars {
  /** Folders that jars keep native libraries for this platform in. */
  private static final List<String> PLATFORM =
      switch (System.getProperty("os.arch")) {
        case "amd64" -> List.of("native/lib/linux-x86_64/cpu/", "linux/x64/");
        case "aarch64" -> List.of("native/lib/linux-aarch64/cpu/", "linux/arm64/");
        default ->
            throw new IllegalStateException(
                "no native libraries for " + System.getProperty("os.arch"));
      };

  private DistributionJars() {}

  public static void main(String[] args) throws IOException {
    Path libraries = Path.of(args[0]);
    // What a zip file can hold begins in 1980 and is counted in 2 seconds.
    LocalDateTime time =
        LocalDateTime.ofInstant(
            Instant.ofEpochSecond(Math.max(315_532_800, Long.parseLong(args[1]) & ~1L)),
            ZoneOffset.UTC);
    Path to = Path.of(args[args.length - 1]);
    for (int i = 2; i < args.length - 1; i++) {
      Path from = Path.of(args[i]);
      copy(from, libraries, time, to.resolve(from.getFileName()));
    }
  }

  private static void copy(Path from, Path libraries, LocalDateTime time, Path to)
      throws IOException {
    try (ZipFile jar = new ZipFile(from.toFile())) {
      List<? extends ZipEntry> entries =
          jar.stream()
              .filter(entry -> !entry.isDirectory())
              .sorted(
                  Comparator.comparing((ZipEntry entry) -> !isManifest(entry))
                      .thenComparing(ZipEntry::getName))
              .toList();
      for (ZipEntry entry : entries) {
        if (isLibrary(entry) && PLATFORM.stream().anyMatch(entry.getName()::startsWith)) {
          String name = entry.getName().substring(entry.getName().lastIndexOf('/') + 1);
          Files.copy(jar.getInputStream(entry), libraries.resolve(name));
        }
      }
      List<? extends ZipEntry> kept = entries.stream().filter(entry -> !isLibrary(entry)).toList();
      if (kept.stream()
          .noneMatch(
              entry ->
                  entry.getName().endsWith(".class")
                      && !entry.getName().endsWith("module-info.class"))) {
        return;
      }
      try (OutputStream file = Files.newOutputStream(to);
          ZipOutputStream out = new ZipOutputStream(file)) {
        for (ZipEntry entry : kept) {
          byte[] bytes = jar.getInputStream(entry).readAllBytes();
          CRC32 crc = new CRC32();
          crc.update(bytes);
          ZipEntry copy = new ZipEntry(entry.getName());
          copy.setTimeLocal(time);
          copy.setMethod(ZipEntry.STORED);
          copy.setSize(bytes.length);
          copy.setCrc(crc.getValue());
          out.putNextEntry(copy);
          out.write(bytes);
          out.closeEntry();
        }
      }
    }
  }

  private static boolean isManifest(ZipEntry entry) {
    return entry.getName().equals("META-INF/MANIFEST.MF");
  }

  private static boolean isLibrary(ZipEntry entry) {
    return entry.getName().matches(".*\\.(so|dll|dylib|jnilib)");
  }
}
