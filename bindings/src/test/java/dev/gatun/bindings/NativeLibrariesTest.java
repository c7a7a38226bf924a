package dev.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class NativeLibrariesTest {
  @Test
  void propertyIsTheOnlyPlace(@TempDir Path folder) {
    assertEquals(
        List.of(folder),
        NativeLibraries.folders(
            "build/native/lib", folder.toString(), Path.of("").toAbsolutePath()));
  }

  @Test
  void checkoutIsFoundFromTheClassesInIt(@TempDir Path checkout) throws IOException {
    Files.createDirectories(checkout.resolve("native/include"));
    Files.createFile(checkout.resolve("native/include/gatun_kernels.h"));
    Path classes = Files.createDirectories(checkout.resolve("bindings/target/classes"));
    assertEquals(
        List.of(checkout.resolve("build/native/lib")),
        NativeLibraries.folders("build/native/lib", null, classes));
  }

  @Test
  void distributionHasItsLibrariesBesideTheJar(@TempDir Path lib) throws IOException {
    Path jar = Files.createFile(lib.resolve("gatun-bindings.jar"));
    assertEquals(
        List.of(lib.resolve("native")), NativeLibraries.folders("build/native/lib", null, jar));
  }

  @Test
  void missNamesEveryPlaceTheLoadersWordsAndTheRemedy(@TempDir Path root) throws IOException {
    Path empty = Files.createDirectory(root.resolve("empty"));
    Path torn = Files.createDirectory(root.resolve("torn"));
    Files.writeString(torn.resolve("libtorn.so"), "not a library");
    NativeLibraryException e =
        assertThrows(
            NativeLibraryException.class,
            () -> NativeLibraries.load("libtorn.so", List.of(empty, torn)));
    List<String> lines = e.getMessage().lines().toList();
    assertEquals("native library libtorn.so could not be loaded; tried", lines.get(0));
    assertEquals("  " + empty.resolve("libtorn.so") + ": no such file", lines.get(1));
    assertTrue(lines.get(2).startsWith("  " + torn.resolve("libtorn.so") + ": "), lines.get(2));
    assertTrue(lines.getLast().contains("gatun.native.path"), lines.getLast());
  }
}
