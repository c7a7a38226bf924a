package dev.gatun.backend;

import dev.gatun.bindings.cuda.CudaRuntime;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Work that repeats, as CUDA graphs: the first time it is enqueued operation by operation, which
 * loads kernels and chooses algorithms; the second time it is captured into a graph; from then on
 * the graph is launched, one call for hundreds of kernels.
 *
 * <p>A graph has the addresses and scalars of its capture. So what is captured must depend on its
 * {@link ReplayKey} and on device memory alone; uploads and downloads inside are refused. The least
 * recently used graphs go when there are too many, or when memory ends.
 */
final class CudaGraphs implements AutoCloseable {
  /**
   * Graphs kept unless said otherwise. One of a 32-layer model's pass has some 400 to 900 nodes.
   */
  static final int MAX_GRAPHS = 512;

  /** Part of the device's memory that graphs may take. */
  static final int MEMORY_SHARE = 64;

  /** Keys remembered that were seen once. */
  private static final int MAX_SEEN = 8192;

  private static final String REMEDY = " (--cuda_graphs off does without graphs)";

  private final MemorySegment stream;
  private final int maxGraphs;
  private final long maxBytes;
  private final Map<ReplayKey, Graph> graphs = new LinkedHashMap<>(64, 0.75f, true);
  private final Set<ReplayKey> seen =
      Collections.newSetFromMap(
          new LinkedHashMap<ReplayKey, Boolean>(64, 0.75f, false) {
            private static final long serialVersionUID = 1L;

            @Override
            protected boolean removeEldestEntry(Map.Entry<ReplayKey, Boolean> eldest) {
              return size() > MAX_SEEN;
            }
          });
  private boolean inside;
  private boolean capturing;
  private boolean suspended;
  private boolean exhausted;
  private long direct;
  private long captured;
  private long replayed;
  private long sizeBytes;

  /**
   * An executable graph.
   *
   * @param sizeBytes of device memory, as far as the device tells
   */
  private record Graph(MemorySegment executable, long sizeBytes) {}

  /**
   * What happened so far.
   *
   * @param direct passes that were enqueued operation by operation
   * @param captured graphs made
   * @param replayed launches of graphs, those of the capture's pass not counted
   * @param sizeBytes of device memory that the graphs hold now
   */
  record Counts(long direct, long captured, long replayed, long sizeBytes) {}

  /**
   * @param stream of all work
   * @param maxGraphs graphs kept
   * @param maxBytes of device memory that they hold, unless one alone has more
   */
  CudaGraphs(MemorySegment stream, int maxGraphs, long maxBytes) {
    this.stream = stream;
    this.maxGraphs = maxGraphs;
    this.maxBytes = maxBytes;
  }

  /** Does the work, in one way or another. */
  void replay(ReplayKey key, Runnable work) {
    if (inside) {
      throw new IllegalStateException(
          "%s inside work that is replayed: graphs hold no others".formatted(key.work()));
    }
    inside = true;
    try {
      replayed(key, work);
    } finally {
      inside = false;
    }
  }

  private void replayed(ReplayKey key, Runnable work) {
    if (suspended) {
      work.run();
      return;
    }
    Graph graph = graphs.get(key);
    if (graph != null) {
      launch(graph);
      replayed++;
      return;
    }
    graph = exhausted || seen.add(key) ? null : capture(work);
    if (graph == null) {
      work.run();
      direct++;
      return;
    }
    graphs.put(key, graph);
    captured++;
    sizeBytes += graph.sizeBytes;
    launch(graph);
    while (graphs.size() > maxGraphs || (sizeBytes > maxBytes && graphs.size() > 1)) {
      ReplayKey eldest = graphs.keySet().iterator().next();
      close(graphs.remove(eldest));
    }
  }

  /** From now on work is enqueued operation by operation, until {@link #resume}. */
  void suspend() {
    suspended = true;
  }

  /** Graphs are launched again. */
  void resume() {
    suspended = false;
  }

  /** Begins anew: memory that graphs use moves, or other kernels come. */
  void forget() {
    graphs.values().forEach(this::close);
    graphs.clear();
    seen.clear();
  }

  /**
   * Refuses what a replay would not do again.
   *
   * @throws IllegalStateException inside {@link #replay}, whether a graph is captured or not
   */
  void refuseInside(String operation) {
    if (inside) {
      throw refusal(operation);
    }
  }

  /**
   * Refuses what cannot be captured, though it may be needed the first time.
   *
   * @throws IllegalStateException while a graph is captured
   */
  void refuseInCapture(String operation) {
    if (capturing) {
      throw refusal(operation);
    }
  }

  private static IllegalStateException refusal(String operation) {
    return new IllegalStateException(
        "%s inside work that is replayed; do it before or after".formatted(operation));
  }

  Counts counts() {
    return new Counts(direct, captured, replayed, sizeBytes);
  }

  /** Whether the device had no memory for another graph: none were made from then on. */
  boolean isExhausted() {
    return exhausted;
  }

  /** A graph of the work, which is not done yet; null if the device has no memory for it. */
  private @Nullable Graph capture(Runnable work) {
    CudaStatus.check(
        "cudaStreamBeginCapture",
        CudaRuntime.cudaStreamBeginCapture(stream, CudaRuntime.cudaStreamCaptureModeThreadLocal()));
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pointer = arena.allocate(ValueLayout.ADDRESS);
      capturing = true;
      try {
        work.run();
      } catch (Throwable failure) {
        abandon(pointer);
        throw failure;
      } finally {
        capturing = false;
      }
      CudaStatus.check(
          "cudaStreamEndCapture" + REMEDY, CudaRuntime.cudaStreamEndCapture(stream, pointer));
      MemorySegment graph = pointer.get(ValueLayout.ADDRESS, 0);
      try {
        return instantiate(graph, pointer);
      } finally {
        CudaStatus.check("cudaGraphDestroy", CudaRuntime.cudaGraphDestroy(graph));
      }
    }
  }

  /** Ends a capture whose work failed, so that the stream can be used again. */
  private void abandon(MemorySegment pointer) {
    if (CudaRuntime.cudaStreamEndCapture(stream, pointer) == CudaRuntime.cudaSuccess()) {
      int _ = CudaRuntime.cudaGraphDestroy(pointer.get(ValueLayout.ADDRESS, 0));
    } else {
      int _ = CudaRuntime.cudaGetLastError(); // Of the capture: it does not stay.
    }
  }

  private @Nullable Graph instantiate(MemorySegment graph, MemorySegment pointer) {
    long free = CudaDevice.currentFreeBytes();
    int status = CudaRuntime.cudaGraphInstantiate(pointer, graph, 0);
    if (status == CudaRuntime.cudaErrorMemoryAllocation()) {
      int _ = CudaRuntime.cudaGetLastError(); // It does not stay.
      exhausted = true;
      forget();
      return null;
    }
    CudaStatus.check("cudaGraphInstantiate" + REMEDY, status);
    return new Graph(
        pointer.get(ValueLayout.ADDRESS, 0), Math.max(0, free - CudaDevice.currentFreeBytes()));
  }

  private void launch(Graph graph) {
    CudaStatus.check("cudaGraphLaunch", CudaRuntime.cudaGraphLaunch(graph.executable, stream));
  }

  private void close(Graph graph) {
    sizeBytes -= graph.sizeBytes;
    CudaStatus.check("cudaGraphExecDestroy", CudaRuntime.cudaGraphExecDestroy(graph.executable));
  }

  @Override
  public void close() {
    forget();
  }
}
