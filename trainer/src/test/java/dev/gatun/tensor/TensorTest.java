package dev.gatun.tensor;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.memory.Buffer;
import dev.gatun.memory.GatunException;
import dev.gatun.memory.ReleasedException;
import org.junit.jupiter.api.Test;

final class TensorTest {
  private static String messageOf(Class<? extends Exception> type, Runnable body) {
    return assertThrows(type, body::run).getMessage();
  }

  @Test
  void knowsItsShapeAndMemory() {
    try (Buffer buffer = Buffer.allocate("slab", 256)) {
      Tensor x = new Tensor("x", DType.BF16, new long[] {3, 5}, buffer, 64);
      assertEquals("x [3, 5] bf16", x.toString());
      assertEquals(15, x.elementCount());
      assertEquals(30, x.sizeBytes());
      assertEquals(5, x.rowStride());
      assertTrue(x.isContiguous());
      assertArrayEquals(new long[] {3, 5}, x.shape());
      assertEquals(30, x.address().byteSize());
      assertEquals(buffer.segment().address() + 64, x.address().address());
    }
  }

  @Test
  void columnsOfAFusedProjection() {
    try (Buffer buffer = Buffer.allocate("slab", 4 * 3 * 10)) {
      Tensor qkv = new Tensor("qkv", DType.F32, new long[] {3, 10}, buffer, 0);
      for (int i = 0; i < 30; i++) {
        buffer.segment().setAtIndex(JAVA_FLOAT, i, i);
      }
      Tensor k = qkv.columns("k", 6, 1, 2);
      assertEquals("k [3, 1, 2] f32", k.toString());
      assertEquals(10, k.rowStride());
      assertFalse(k.isContiguous());
      assertEquals(4 * 6, k.sizeBytes());
      assertEquals(4 * 22, k.address().byteSize());
      Tensor last = k.rows(2, 1);
      assertTrue(last.isContiguous());
      assertEquals(26, last.address().getAtIndex(JAVA_FLOAT, 0));
      assertEquals(27, last.address().getAtIndex(JAVA_FLOAT, 1));
      assertEquals(0, k.rows(3, 0).address().byteSize());
      assertEquals(
          "qkv [3, 10] f32: has no 5 columns from 6 on for v",
          messageOf(IllegalArgumentException.class, () -> qkv.columns("v", 6, 5)));
      assertEquals(
          "k [3, 1, 2] f32: has gaps between rows, expected contiguous",
          messageOf(IllegalArgumentException.class, () -> k.view("flat", 0, 6)));
      assertEquals(
          "k [3, 1, 2] f32: has no 2 rows from row 2 on",
          messageOf(IllegalArgumentException.class, () -> k.rows(2, 2)));
    }
  }

  @Test
  void viewsStayInside() {
    try (Buffer buffer = Buffer.allocate("slab", 64)) {
      Tensor x = new Tensor("x", DType.F32, new long[] {2, 4}, buffer, 0);
      assertEquals(buffer.segment().address() + 16, x.view("tail", 4, 2, 2).address().address());
      assertEquals(
          "tail [2, 2] f32: does not fit in x [2, 4] f32 from element 5 on",
          messageOf(IllegalArgumentException.class, () -> x.view("tail", 5, 2, 2)));
      assertEquals(
          "y [5, 4] f32: 80 bytes at offset 0 do not fit in slab, which has 64 bytes",
          messageOf(
              IllegalArgumentException.class,
              () -> new Tensor("y", DType.F32, new long[] {5, 4}, buffer, 0)));
      assertEquals(
          "y [1] f32: offset is 2 bytes, expected a multiple of the element size",
          messageOf(
              IllegalArgumentException.class,
              () -> new Tensor("y", DType.F32, new long[] {1}, buffer, 2)));
      assertThrows(
          IllegalArgumentException.class,
          () -> new Tensor("y", DType.F32, new long[] {-1, 2}, buffer, 0));
      assertThrows(
          ArithmeticException.class,
          () -> new Tensor("y", DType.F32, new long[] {1L << 32, 1L << 32}, buffer, 0));
    }
  }

  @Test
  void otherTypesAndRanksOverTheSameMemory() {
    try (Buffer buffer = Buffer.allocate("slab", 96)) {
      Tensor x = new Tensor("x", DType.F32, new long[] {2, 3, 4}, buffer, 0);
      assertEquals("x [2, 12] f32", x.matrix().toString());
      Tensor heads = x.matrix().columns("heads", 4, 2, 2);
      assertEquals(12, heads.matrix().rowStride());
      assertEquals(x.address().address() + 16, heads.matrix().address().address());
      Tensor narrow = x.reinterpret("narrow", DType.BF16, 2, 24);
      assertEquals(x.address().address(), narrow.address().address());
      assertEquals(96, narrow.sizeBytes());
      assertEquals(
          "wide [13] f32: does not fit in x [1, 3, 4] f32, which has 48 bytes",
          messageOf(
              IllegalArgumentException.class,
              () -> x.rows(0, 1).reinterpret("wide", DType.F32, 13)));
    }
  }

  @Test
  void useAfterCloseNamesTheTensorAndTheBuffer() {
    Buffer buffer = Buffer.allocate("activations", 64);
    Tensor x = new Tensor("x", DType.F32, new long[] {2}, buffer, 0);
    buffer.close();
    assertEquals(
        "x in activations: used after close", messageOf(ReleasedException.class, x::address));
  }

  @Test
  void aPlanCountsWhatTheSlabThenUses() {
    Slab planner = Slab.planner();
    long plannedMark = program(planner);
    assertEquals(64 + 128, planner.highWaterBytes());
    assertEquals(
        "a [3] bf16: planned only, has no memory",
        messageOf(
            IllegalStateException.class,
            () -> Slab.planner().allocate("a", DType.BF16, 3).address()));
    try (Slab slab = new Slab(Buffer.allocate("step", planner.highWaterBytes()))) {
      assertEquals(plannedMark, program(slab));
      assertEquals(planner.highWaterBytes(), slab.highWaterBytes());
      Tensor full = slab.allocate("full", DType.F32, 32);
      assertEquals(0, full.address().address() % 64);
      assertEquals(
          "more [1] bf16: needs 2 bytes, step has 0 of 192 left",
          messageOf(GatunException.class, () -> slab.allocate("more", DType.BF16, 1)));
    }
  }

  private static long program(Slab slab) {
    slab.allocate("a", DType.BF16, 3);
    long mark = slab.mark();
    Tensor b = slab.allocate("b", DType.F32, 17, 1);
    b.view("c", 1, 16); // Views of planned tensors work as those of real ones.
    slab.reset(mark);
    assertThrows(IllegalArgumentException.class, () -> slab.reset(mark + 64));
    return slab.mark();
  }
}
