package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class AlgorithmFileTest {
  private static final byte[] ONE = {1, 2, (byte) 0xff};
  private static final byte[] OTHER = {4, 5, 6};

  @TempDir private Path temp;
  private Path file;
  private final List<String> warnings = new ArrayList<>();

  @BeforeEach
  void name() {
    file = temp.resolve("cache/gatun/cublaslt.txt");
  }

  @Test
  void whatWasKeptIsReadAgain() throws IOException {
    AlgorithmFile written = open();
    assertNull(written.get("m1 n2 k3"));
    written.put("m1 n2 k3", ONE);
    written.put("m1 n2 k4 add", OTHER);
    written.put("m1 n2 k3", OTHER); // The first stays.
    AlgorithmFile read = open();
    assertArrayEquals(ONE, read.get("m1 n2 k3"));
    assertArrayEquals(OTHER, read.get("m1 n2 k4 add"));
    assertEquals(
        List.of(
            "# gatun: algorithms of cuBLASLt, format 1",
            "m1 n2 k3 = 0102ff",
            "m1 n2 k4 add = 040506"),
        Files.readAllLines(file));
    assertEquals(List.of(), warnings);
  }

  @Test
  void damagedLinesCostAWarningEach() throws IOException {
    open().put("good", ONE);
    Files.writeString(file, Files.readString(file) + "torn = 01\nno\u0007sense\ngood = 040506\n");
    AlgorithmFile read = open();
    assertArrayEquals(ONE, read.get("good"));
    assertNull(read.get("torn"));
    assertEquals(
        List.of(
            file + ":3 is damaged and was ignored: 'torn = 01'",
            file + ":4 is damaged and was ignored: 'no?sense'"),
        warnings);
  }

  @Test
  void aForeignFileIsIgnoredAndLeftAlone() throws IOException {
    Files.createDirectories(file.getParent());
    Files.writeString(file, "something else\n");
    AlgorithmFile read = open();
    read.put("kind", ONE);
    assertArrayEquals(ONE, read.get("kind"));
    assertEquals("something else\n", Files.readString(file));
    assertEquals(1, warnings.size());
    assertTrue(warnings.getFirst().startsWith(file + " begins with 'something else'"));
  }

  @Test
  void bytesThatAreNoTextAreIgnored() throws IOException {
    Files.createDirectories(file.getParent());
    Files.write(file, new byte[] {(byte) 0xff, (byte) 0xfe, 0, 1});
    assertNull(open().get("kind"));
    assertEquals(List.of(file + " is not text and was ignored; delete it"), warnings);
  }

  @Test
  void aFolderThatCannotBeMadeCostsAWarning() throws IOException {
    Files.writeString(temp.resolve("cache"), "a file where a folder should be");
    AlgorithmFile algorithms = open();
    algorithms.put("kind", ONE);
    assertArrayEquals(ONE, algorithms.get("kind"));
    assertEquals(1, warnings.size());
    assertTrue(warnings.getFirst().startsWith("choices of algorithms are not kept: " + file));
  }

  @Test
  void extentsAreRoundedToEightSizesAnOctave() {
    assertEquals(0, MatmulProblem.rounded(0));
    assertEquals(15, MatmulProblem.rounded(15));
    assertEquals(18, MatmulProblem.rounded(17));
    assertEquals(896, MatmulProblem.rounded(896));
    assertEquals(1152, MatmulProblem.rounded(1025));
    assertEquals(2048, MatmulProblem.rounded(1921));
  }

  private AlgorithmFile open() {
    return AlgorithmFile.open(file, ONE.length, warnings::add);
  }
}
