package dev.gatun.memory;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class BufferTest {
  /** Around the size from which on pages are mapped directly. */
  @ParameterizedTest
  @ValueSource(longs = {0, 1, 63, 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5 << 20})
  void isZeroedAlignedAndWritableToItsLastByte(long sizeBytes) {
    try (Buffer buffer = Buffer.allocate("weights", sizeBytes)) {
      MemorySegment segment = buffer.segment();
      assertEquals(sizeBytes, segment.byteSize());
      assertEquals(0, segment.address() % Buffer.ALIGNMENT_BYTES);
      assertEquals(
          -1, segment.mismatch(MemorySegment.ofArray(new byte[Math.toIntExact(sizeBytes)])));
      if (sizeBytes > 0) {
        segment.set(JAVA_BYTE, 0, (byte) 1);
        segment.set(JAVA_BYTE, sizeBytes - 1, (byte) 2);
        assertEquals(2, segment.get(JAVA_BYTE, sizeBytes - 1));
      }
      assertThrows(IndexOutOfBoundsException.class, () -> segment.get(JAVA_BYTE, sizeBytes));
    }
  }

  @Test
  void largeBuffersAreAlignedToHugePages() {
    try (Buffer buffer = Buffer.allocate("weights", 3 << 20)) {
      assertEquals(0, buffer.segment().address() % AnonymousPages.HUGE_PAGE_BYTES);
    }
  }

  @Test
  void aRefusalNamesTheBuffer() {
    long liveBefore = Allocations.liveBytes();
    MemoryExhaustedException e =
        assertThrows(
            MemoryExhaustedException.class, () -> Buffer.allocate("weights", Long.MAX_VALUE >> 8));
    assertEquals(
        "weights: the system refused 36028797018963967 bytes (33554432.0 GiB);"
            + " choose a smaller model or batch",
        e.getMessage());
    assertEquals(liveBefore, Allocations.liveBytes());
  }

  @Test
  void deviceMemoryHasAnAddressThatJavaCannotRead() {
    int[] released = {0};
    Buffer buffer =
        Buffer.onDevice("weights", 1024, MemorySegment.ofAddress(0x10000), () -> released[0]++);
    assertTrue(buffer.isOnDevice());
    assertEquals(1024, Allocations.live().getLast().sizeBytes());
    MemorySegment part = buffer.segment(256, 768);
    assertEquals(0x10100, part.address());
    assertThrows(IndexOutOfBoundsException.class, () -> part.get(JAVA_BYTE, 0));
    assertThrows(IndexOutOfBoundsException.class, () -> buffer.segment(257, 768));
    buffer.close();
    buffer.close();
    assertEquals(1, released[0]);
    assertThrows(ReleasedException.class, () -> buffer.segment(0, 1));
    assertThrows(
        IllegalArgumentException.class,
        () -> Buffer.onDevice("odd", 64, MemorySegment.ofAddress(0x10020), () -> {}));
  }

  @ParameterizedTest
  @ValueSource(longs = {64, 4 << 20})
  void useAfterCloseNamesTheBuffer(long sizeBytes) {
    Buffer buffer = Buffer.allocate("activations", sizeBytes);
    MemorySegment kept = buffer.segment();
    buffer.close();
    buffer.close();
    assertFalse(buffer.isOpen());
    ReleasedException e = assertThrows(ReleasedException.class, buffer::segment);
    assertEquals("activations: used after close", e.getMessage());
    assertThrows(IllegalStateException.class, () -> kept.get(JAVA_BYTE, 0));
  }

  @Test
  void negativeSizesAreRefused() {
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Buffer.allocate("x", -1));
    assertEquals("x: size is -1 bytes, expected >= 0", e.getMessage());
  }

  @Test
  void allocationsKnowWhatIsLiveAndTheMostThereWas() {
    long liveBefore = Allocations.liveBytes();
    Allocations.resetPeak();
    Allocations.track(true);
    Buffer first = Buffer.allocate("first", 1000);
    Allocations.track(false);
    Buffer second = Buffer.allocate("second", 500);
    List<Allocations.Allocation> live =
        Allocations.live().stream()
            .filter(a -> a.name().equals("first") || a.name().equals("second"))
            .toList();
    assertEquals(
        List.of("first", "second"), live.stream().map(Allocations.Allocation::name).toList());
    assertNotNull(live.getFirst().stack());
    assertNull(live.getLast().stack());
    assertEquals(liveBefore + 1500, Allocations.liveBytes());
    first.close();
    first.close();
    assertEquals(liveBefore + 500, Allocations.liveBytes());
    second.close();
    assertEquals(liveBefore, Allocations.liveBytes());
    assertTrue(Allocations.peakBytes() >= liveBefore + 1500);
  }
}
