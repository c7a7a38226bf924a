package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import dev.gatun.hf.TokenizerLibrary.Build;
import dev.gatun.library.InstalledLibraries;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class TokenizerLibraryTest {
  static Stream<Build> builds() {
    return TokenizerLibrary.BUILDS.values().stream();
  }

  /** Fails when DJL's version changes: then the sizes and hashes are to be read anew. */
  @ParameterizedTest
  @MethodSource("builds")
  void sizesAndHashesAreThoseOfTheJar(Build build) throws IOException, NoSuchAlgorithmException {
    try (InputStream in = TokenizersLibrary.class.getResourceAsStream("/" + build.resource())) {
      byte[] bytes = in.readAllBytes();
      assertEquals(build.sizeBytes(), bytes.length);
      byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes);
      assertEquals(build.sha256(), HexFormat.of().formatHex(digest));
    }
  }

  @Test
  void aTornOrChangedCopyIsUnpackedAgainAndAWholeOneKept(@TempDir Path folder) throws IOException {
    Build build = builds().findFirst().orElseThrow();
    Path library = TokenizerLibrary.unpack(build, folder.resolve("new"));
    byte[] whole = Files.readAllBytes(library);
    assertEquals(build.sizeBytes(), whole.length);
    Object before = Files.readAttributes(library, "fileKey,lastModifiedTime");
    TokenizerLibrary.unpack(build, folder.resolve("new"));
    assertEquals(before, Files.readAttributes(library, "fileKey,lastModifiedTime"));

    byte[] changed = whole.clone();
    changed[changed.length / 2] ^= 1;
    byte[] torn = Arrays.copyOf(whole, whole.length / 2);
    for (byte[] bad : List.of(changed, torn)) {
      Files.write(library, bad);
      assertEquals(library, TokenizerLibrary.unpack(build, folder.resolve("new")));
      assertEquals(-1, Arrays.mismatch(whole, Files.readAllBytes(library)));
      assertNotEquals(before, Files.readAttributes(library, "fileKey,lastModifiedTime"));
    }
    try (Stream<Path> files = Files.list(folder.resolve("new"))) {
      assertEquals(List.of(library), files.toList());
    }
  }

  @Test
  void anotherReleaseOnTheClassPathIsNamedAndNothingStays(@TempDir Path folder) throws IOException {
    Build build = builds().findFirst().orElseThrow();
    Build other = new Build(build.resource(), build.sizeBytes(), "0".repeat(64));
    String message =
        assertThrows(TokenizerLibraryException.class, () -> TokenizerLibrary.unpack(other, folder))
            .getMessage();
    assertTrue(message.contains(build.sha256()), message);
    assertTrue(message.contains("another release of ai.djl.huggingface:tokenizers"), message);
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(), files.toList());
    }
  }

  @Test
  void aDistributionHasItsLibrariesBesideItsJars(@TempDir Path folder) throws IOException {
    Path jar = Files.createFile(folder.resolve("trainer.jar"));
    assertNull(InstalledLibraries.find("libx.so", jar));
    Path library = Files.createDirectory(folder.resolve("native")).resolve("libx.so");
    assertNull(InstalledLibraries.find("libx.so", jar));
    Files.createFile(library);
    assertEquals(library, InstalledLibraries.find("libx.so", jar));
    // Classes in a folder are a checkout's.
    assertNull(
        InstalledLibraries.find("libx.so", Files.createDirectory(folder.resolve("classes"))));
    assertNull(InstalledLibraries.find("libtokenizers.so"));
  }

  @Test
  void aDamagedDistributionIsNamedAndNothingTakenInstead(@TempDir Path folder) throws IOException {
    Build build = builds().findFirst().orElseThrow();
    Path library = TokenizerLibrary.unpack(build, folder);
    byte[] changed = Files.readAllBytes(library);
    changed[changed.length / 2] ^= 1;
    Files.write(library, changed);
    String message =
        assertThrows(
                TokenizerLibraryException.class,
                () -> TokenizerLibrary.loadInstalled(build, library))
            .getMessage();
    assertTrue(message.contains(library + " is damaged"), message);
    assertTrue(message.contains("unpack the distribution again"), message);
  }
}
