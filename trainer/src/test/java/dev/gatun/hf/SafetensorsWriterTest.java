package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.memory.ReleasedException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

final class SafetensorsWriterTest {
  @TempDir Path folder;

  static List<Path> goldenFiles() throws IOException {
    try (Stream<Path> files = Files.walk(Goldens.MODELS)) {
      return files.filter(file -> file.toString().endsWith(".safetensors")).sorted().toList();
    }
  }

  /** Files that safetensors 0.8 wrote come out of this writer byte for byte. */
  @ParameterizedTest
  @MethodSource("goldenFiles")
  void writesTheBytesOfSafetensors(Path golden) throws IOException {
    Path copy = folder.resolve("copy.safetensors");
    try (SafetensorsFile file = SafetensorsFile.open(golden)) {
      assertEquals(Map.of("format", "pt"), file.metadata());
      SafetensorsWriter.write(copy, file.tensors());
    }
    assertEquals(-1, Files.mismatch(golden, copy));
  }

  @Test
  void ordersTypesAndNamesAsSafetensorsDoes() {
    Path path = folder.resolve("all.safetensors");
    MemorySegment data = MemorySegment.ofArray(new byte[8]);
    List<StoredTensor> tensors =
        Stream.of("BOOL", "F32", "BF16", "I64", "U64", "F16", "C64", "U8", "F8_E5M2FNUZ", "F64")
            .map(ElementType::valueOf)
            .map(type -> new StoredTensor("of " + type, type, new long[] {64 / type.bits()}, data))
            .toList();
    SafetensorsWriter.write(path, tensors);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      // As safetensors.torch.save of Python wrote them.
      assertEquals(
          List.of(
              "of U64",
              "of I64",
              "of F64",
              "of C64",
              "of F32",
              "of BF16",
              "of F16",
              "of F8_E5M2FNUZ",
              "of U8",
              "of BOOL"),
          List.copyOf(file.names()));
    }
  }

  /** U+10000 comes before U+FF5E in UTF-16, but behind it in UTF-8 and so in Rust. */
  @Test
  void ordersNamesByCodePoint() {
    Path path = folder.resolve("names.safetensors");
    SafetensorsWriter.write(
        path,
        List.of(
            StoredTensor.ofFloats("\ud800\udc00", new long[] {1}, 1),
            StoredTensor.ofFloats("\uff5e", new long[] {1}, 2)));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(List.of("\uff5e", "\ud800\udc00"), List.copyOf(file.names()));
    }
  }

  @Test
  void keepsValuesShapesAndMetadata() {
    Path path = folder.resolve("some.safetensors");
    SafetensorsWriter.write(
        path,
        List.of(
            StoredTensor.ofFloats("m", new long[] {2, 3}, 1, 2, 3, 4, 5, Float.NaN),
            StoredTensor.ofFloats("s", new long[0], -0f),
            StoredTensor.ofFloats("e", new long[] {0, 7})),
        Map.of("step", "12"));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals(Map.of("format", "pt", "step", "12"), file.metadata());
      assertArrayEquals(new long[] {2, 3}, file.tensor("m").shape());
      assertArrayEquals(new float[] {1, 2, 3, 4, 5, Float.NaN}, file.tensor("m").toFloats());
      assertArrayEquals(new float[] {-0f}, file.tensor("s").toFloats());
      assertEquals(0, file.tensor("e").elementCount());
      assertTrue(file.tensor("m").data().isReadOnly());
    }
  }

  @Test
  void readsEveryTypeOfWeight() {
    Path path = folder.resolve("types.safetensors");
    MemorySegment halves = MemorySegment.ofArray(new byte[] {0x00, 0x3e, 0x01, 0x00});
    SafetensorsWriter.write(
        path,
        List.of(
            new StoredTensor("f16", ElementType.F16, new long[] {2}, halves),
            new StoredTensor("bf16", ElementType.BF16, new long[] {2}, halves),
            new StoredTensor("i16", ElementType.I16, new long[] {2}, halves)));
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      // 0x3e00 is 1.5 in binary16, and the upper half of 0.125 in binary32.
      assertArrayEquals(new float[] {1.5f, 0x1p-24f}, file.weight("f16").toFloats());
      assertArrayEquals(new float[] {0.125f, 0x1p-133f}, file.weight("bf16").toFloats());
      FormatException e = assertThrows(FormatException.class, () -> file.weight("i16"));
      assertTrue(e.getMessage().contains("tensor \"i16\" is I16, expected one of"), e.getMessage());
      assertThrows(FormatException.class, () -> file.tensor("f32"));
    }
  }

  @Test
  void tensorsEndWithTheFile() {
    Path path = folder.resolve("one.safetensors");
    SafetensorsWriter.write(path, List.of(StoredTensor.ofFloats("a", new long[] {1}, 1)));
    SafetensorsFile file = SafetensorsFile.open(path);
    MemorySegment data = file.tensor("a").data();
    file.close();
    file.close();
    assertThrows(ReleasedException.class, () -> file.tensor("a"));
    assertThrows(IllegalStateException.class, () -> data.get(ValueLayout.JAVA_BYTE, 0));
  }

  @Test
  void refusesTwoTensorsOfOneName() {
    StoredTensor tensor = StoredTensor.ofFloats("a", new long[] {1}, 1);
    Path path = folder.resolve("two.safetensors");
    assertThrows(
        IllegalArgumentException.class,
        () -> SafetensorsWriter.write(path, List.of(tensor, tensor)));
    assertFalse(Files.exists(path));
  }

  @Test
  void refusesDataOfAnotherSize() {
    assertThrows(
        IllegalArgumentException.class, () -> StoredTensor.ofFloats("a", new long[] {2}, 1));
  }

  @Test
  void aFullDiskLeavesTheOldFile() throws IOException {
    Path path = folder.resolve("model.safetensors");
    SafetensorsWriter.write(path, List.of(StoredTensor.ofFloats("old", new long[] {1}, 1)));
    long tooMuch = Files.getFileStore(folder).getUsableSpace() + (64L << 30);
    // Address space without memory: nothing reads or writes it.
    MemorySegment huge = MemorySegment.ofAddress(1 << 20).reinterpret(tooMuch);
    List<StoredTensor> tensors =
        List.of(new StoredTensor("huge", ElementType.U8, new long[] {tooMuch}, huge));
    WriteException e =
        assertThrows(WriteException.class, () -> SafetensorsWriter.write(path, tensors));
    assertTrue(e.getMessage().startsWith(path + ": needs "), e.getMessage());
    assertTrue(e.getMessage().contains("are free on the disk of " + folder), e.getMessage());
    try (SafetensorsFile old = SafetensorsFile.open(path)) {
      assertEquals(List.of("old"), List.copyOf(old.names()));
    }
    assertEquals(List.of(path), Goldens.list(folder));
  }

  /** Memory that is released while it is written stands for any failure half-way. */
  @Test
  void aFailureHalfWayLeavesTheOldFile() throws IOException {
    Path path = folder.resolve("model.safetensors");
    SafetensorsWriter.write(path, List.of(StoredTensor.ofFloats("old", new long[] {1}, 1)));
    StoredTensor released;
    try (Arena arena = Arena.ofConfined()) {
      released = new StoredTensor("z", ElementType.F32, new long[] {4}, arena.allocate(16));
    }
    List<StoredTensor> tensors =
        List.of(StoredTensor.ofFloats("a", new long[] {2}, 1, 2), released);
    assertThrows(IllegalStateException.class, () -> SafetensorsWriter.write(path, tensors));
    try (SafetensorsFile old = SafetensorsFile.open(path)) {
      assertEquals(List.of("old"), List.copyOf(old.names()));
    }
    assertEquals(List.of(path), Goldens.list(folder));
  }

  @Test
  void namesAFolderThatIsNotThere() {
    Path path = folder.resolve("nowhere").resolve("model.safetensors");
    WriteException e =
        assertThrows(WriteException.class, () -> SafetensorsWriter.write(path, List.of()));
    assertTrue(e.getMessage().startsWith(path + ": cannot be written: "), e.getMessage());
    assertEquals(path, e.file());
  }
}
