package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bindings.cuda.CudaRuntime;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** On the emulated GPU, which refuses in a capture what a GPU refuses; on a real one too. */
@Tag("gpu")
final class CudaGraphsTest {
  private static final CudaOptions PLAIN = CudaOptions.DEFAULT.withCacheFolder(null);

  private static final ReplayKey KEY = new ReplayKey("test", List.of(1L));

  private int runs;

  /** Enqueued once, captured once, and from then on replayed: on the values of the moment. */
  @Test
  void theSecondTimeIsCapturedAndTheThirdReplayed() {
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 1 << 16))) {
      Tensor a = slab.allocate("a", DType.F32, 40, 24);
      Tensor x = slab.allocate("x", DType.F32, 24, 8);
      Tensor y = slab.allocate("y", DType.F32, 40, 8);
      Tensor copy = slab.allocate("copy", DType.F32, 40, 8);
      float[] values = new float[40 * 24];
      for (int round = 0; round < 5; round++) {
        values[0] = round; // y[0, 0] = round * x[0, 0]
        backend.upload(a, values);
        float[] column = new float[24 * 8];
        column[0] = 10 + round;
        backend.upload(x, column);
        backend.replay(
            ReplayKey.of("product", 0, a, x, y, copy),
            () -> {
              runs++;
              backend.matmul(y, a, Transpose.NO, x, Transpose.NO, null, Accumulate.OVERWRITE);
              backend.copy(copy, y);
              backend.zero(y);
            });
        assertEquals(round * (10f + round), backend.downloadF32(copy)[0]);
        assertArrayEquals(new float[40 * 8], backend.downloadF32(y));
      }
      assertEquals(2, runs);
      CudaGraphs.Counts counts = backend.graphCounts();
      assertEquals(List.of(1L, 1L, 3L), facts(counts));
      assertTrue(backend.summary().getFirst().startsWith("CUDA graphs: 1 captured, replayed 3"));
    }
  }

  private static List<Long> facts(CudaGraphs.Counts counts) {
    return List.of(counts.direct(), counts.captured(), counts.replayed());
  }

  @Test
  void keysTellPlacesShapesAndTypesApart() {
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 4096))) {
      Tensor x = slab.allocate("x", DType.F32, 4, 6);
      Tensor y = slab.allocate("y", DType.F32, 4, 6);
      ReplayKey key = ReplayKey.of("work", 0, x);
      assertEquals(key, ReplayKey.of("work", 0, x.view("other name", 0, 4, 6)));
      for (ReplayKey other :
          List.of(
              ReplayKey.of("other", 0, x),
              ReplayKey.of("work", 1, x),
              ReplayKey.of("work", 0, y),
              ReplayKey.of("work", 0, x.view("x", 0, 6, 4)),
              ReplayKey.of("work", 0, x.view("x", 0, 24)),
              ReplayKey.of("work", 0, x.rows(0, 3)),
              ReplayKey.of("work", 0, x, y))) {
        assertTrue(!key.equals(other), other::toString);
      }
    }
  }

  @Test
  void offOrWithDebugSyncNothingIsReplayed() {
    for (CudaOptions options :
        List.of(PLAIN.withGraphs(CudaOptions.Graphs.OFF), PLAIN.withDebugSync())) {
      runs = 0;
      try (CudaBackend backend = CudaBackend.create(options)) {
        for (int i = 0; i < 4; i++) {
          backend.replay(KEY, () -> runs++);
        }
        assertEquals(4, runs);
        assertNull(backend.graphCounts());
        assertEquals(List.of(), backend.summary());
      }
    }
    CudaOptions on = PLAIN.withGraphs(CudaOptions.Graphs.ON);
    assertThrows(IllegalArgumentException.class, on::withDebugSync);
  }

  /** A profiler sees the operations, unless graphs were asked for. */
  @Test
  void graphsPauseWhileAProfilerRecords() {
    for (CudaOptions.Graphs graphs : List.of(CudaOptions.Graphs.AUTO, CudaOptions.Graphs.ON)) {
      runs = 0;
      try (CudaBackend backend = CudaBackend.create(PLAIN.withGraphs(graphs))) {
        backend.replay(KEY, () -> runs++);
        backend.replay(KEY, () -> runs++);
        backend.startProfiler();
        backend.replay(KEY, () -> runs++);
        backend.stopProfiler();
        backend.replay(KEY, () -> runs++);
        assertEquals(graphs == CudaOptions.Graphs.AUTO ? 3 : 2, runs);
      }
    }
  }

  @Test
  void whatAReplayWouldNotRepeatIsRefused() {
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 4096))) {
      Tensor x = slab.allocate("x", DType.F32, 1);
      refused(backend, "upload of x", () -> backend.upload(x, new float[1]));
      refused(backend, "download of x", () -> backend.downloadF32(x));
      refused(backend, "download of x", () -> backend.hostView(x, 0, 4));
      refused(backend, "inner", () -> backend.replay(new ReplayKey("inner", List.of()), () -> {}));

      // What may be needed the first time is refused in a capture only, which it spoils.
      ReplayKey fresh = new ReplayKey("fresh", List.of());
      backend.replay(fresh, () -> backend.allocate("more", 64).close());
      refused(backend, "allocation of more", () -> backend.allocate("more", 64).close());
      refused(backend, "synchronization", backend::synchronize);

      // And then all is as before.
      backend.upload(x, new float[] {5});
      backend.replay(KEY, () -> backend.zero(x));
      backend.replay(KEY, () -> {});
      assertArrayEquals(new float[1], backend.downloadF32(x));
      assertEquals(List.of(1L, 1L, 1L), facts(backend.graphCounts()));
    }
  }

  private static void refused(CudaBackend backend, String what, Runnable work) {
    IllegalStateException e =
        assertThrows(IllegalStateException.class, () -> backend.replay(KEY, work));
    assertTrue(e.getMessage().startsWith(what + " inside work that is replayed"), e.getMessage());
  }

  /** A capture that CUDA itself refuses names the reason, and the stream can be used again. */
  @Test
  @Tag("simt")
  void aBrokenCaptureIsAnError() {
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 4096));
        CudaEvent event = CudaEvent.mark()) {
      Tensor x = slab.allocate("x", DType.F32, 1);
      backend.upload(x, new float[] {5});
      backend.replay(KEY, () -> {});
      NativeException e =
          assertThrows(NativeException.class, () -> backend.replay(KEY, event::await));
      assertTrue(e.getMessage().startsWith("cudaEventSynchronize"), e.getMessage());
      assertTrue(!e.getMessage().contains("the device is lost"), e.getMessage());
      assertArrayEquals(new float[] {5}, backend.downloadF32(x));
    }
  }

  /** Memory that every operation uses may move: what was captured with it is captured anew. */
  @Test
  void graphsGoWhenTheWorkspaceGrows() {
    try (CudaBackend backend = CudaBackend.create(PLAIN);
        Slab slab = new Slab(backend.allocate("slab", 1 << 20))) {
      Tensor dBias = slab.allocate("dBias", DType.F32, 64);
      Tensor dY = slab.allocate("dY", DType.F32, 1000, 64);
      float[] ones = new float[64_000];
      Arrays.fill(ones, 1);
      backend.upload(dY, ones);
      backend.reserveWorkspace(1000, 64);
      for (int round = 1; round <= 6; round++) {
        if (round == 4) {
          backend.reserveWorkspace(100_000, 256);
        }
        backend.replay(
            KEY, () -> backend.kernels().biasBackward(dBias, dY, 1000, 64, 64, DType.F32));
        assertEquals(1000f * round, backend.downloadF32(dBias)[63]);
      }
      assertEquals(List.of(2L, 2L, 2L), facts(backend.graphCounts()));
    }
  }

  @Test
  void theLeastRecentlyUsedGoFirst() {
    onStream(
        stream -> {
          try (CudaGraphs graphs = new CudaGraphs(stream, 2, Long.MAX_VALUE)) {
            for (long key : new long[] {1, 1, 2, 2, 1, 3, 3, 1, 3}) {
              work(graphs, key);
            }
            assertEquals(6, runs);
            assertEquals(List.of(3L, 3L, 3L), facts(graphs.counts()));
            work(graphs, 2); // Dropped for 3; seen before, so it is captured at once, and 1 goes.
            assertEquals(7, runs);
            work(graphs, 3);
            assertEquals(7, runs);
            work(graphs, 1);
            assertEquals(8, runs);
            assertEquals(List.of(3L, 5L, 4L), facts(graphs.counts()));
          }
        });
  }

  /** An emulated graph takes at least 64 KiB. */
  @Test
  @Tag("simt")
  void graphsHaveNoMoreMemoryThanTheyMay() {
    onStream(
        stream -> {
          try (CudaGraphs graphs = new CudaGraphs(stream, 100, 150 << 10)) {
            for (long key = 1; key <= 5; key++) {
              work(graphs, key);
              work(graphs, key);
              assertEquals(Math.min(key, 2) * (64 << 10), graphs.counts().sizeBytes());
            }
            work(graphs, 4);
            assertEquals(List.of(5L, 5L, 1L), facts(graphs.counts()));
            graphs.forget();
            assertEquals(0, graphs.counts().sizeBytes());
          }
        });
  }

  private static void onStream(Consumer<MemorySegment> test) {
    try (CudaBackend _ = CudaBackend.create(PLAIN);
        Arena arena = Arena.ofConfined()) {
      MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
      CudaStatus.check(
          "cudaStreamCreateWithFlags",
          CudaRuntime.cudaStreamCreateWithFlags(pointer, CudaRuntime.cudaStreamNonBlocking()));
      MemorySegment stream = pointer.get(ValueLayout.ADDRESS, 0);
      test.accept(stream);
      CudaStatus.check("cudaStreamDestroy", CudaRuntime.cudaStreamDestroy(stream));
    }
  }

  private void work(CudaGraphs graphs, long key) {
    graphs.replay(new ReplayKey("work", List.of(key)), () -> runs++);
  }
}
