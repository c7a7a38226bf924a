package dev.gatun.backend;

import dev.gatun.bindings.cuda.CudaRuntime;
import java.lang.foreign.MemorySegment;

/**
 * Copies between host memory and a device by way of pinned memory. Blocks of it are filled in turn;
 * one is used again when the copies from it are done, so that uploads return at once unless all
 * blocks are on their way, and a large copy moves one block while the next is filled.
 */
final class PinnedRing implements AutoCloseable {
  private static final int BLOCKS = 4;

  /** Copies begin at multiples of this. */
  private static final long ALIGNMENT_BYTES = 64;

  private final MemorySegment stream;
  private final long blockBytes;
  private final PinnedMemory memory;
  private final CudaEvent[] done = new CudaEvent[BLOCKS];
  private int block;
  private long usedBytes;

  PinnedRing(MemorySegment stream, long blockBytes) {
    this.stream = stream;
    this.blockBytes = blockBytes;
    this.memory = new PinnedMemory(BLOCKS * blockBytes);
    for (int i = 0; i < BLOCKS; i++) {
      done[i] = CudaEvent.mark();
    }
  }

  /** Enqueues a copy of {@code host} to {@code device}; {@code host} may be changed after it. */
  void upload(MemorySegment device, MemorySegment host) {
    for (long begin = 0; begin < host.byteSize(); ) {
      if (usedBytes == blockBytes) {
        next();
      }
      long count = Math.min(blockBytes - usedBytes, host.byteSize() - begin);
      MemorySegment pinned = memory.segment().asSlice(block * blockBytes + usedBytes, count);
      pinned.copyFrom(host.asSlice(begin, count));
      copy(
          MemorySegment.ofAddress(device.address() + begin),
          pinned,
          count,
          CudaRuntime.cudaMemcpyHostToDevice());
      usedBytes =
          Math.min(blockBytes, Math.ceilDiv(usedBytes + count, ALIGNMENT_BYTES) * ALIGNMENT_BYTES);
      begin += count;
    }
  }

  /** Copies {@code device} to {@code host} once the stream's work so far is done. */
  void download(MemorySegment host, MemorySegment device) {
    long sizeBytes = host.byteSize();
    long parts = Math.ceilDiv(sizeBytes, blockBytes);
    for (long part = 0; part <= parts; part++) {
      if (part < parts) {
        // The copy out of the block after this one has been waited for, below or in next().
        if (part > 0 || usedBytes > 0) {
          next();
        }
        long begin = part * blockBytes;
        long count = Math.min(blockBytes, sizeBytes - begin);
        copy(
            memory.segment().asSlice(block * blockBytes, count),
            MemorySegment.ofAddress(device.address() + begin),
            count,
            CudaRuntime.cudaMemcpyDeviceToHost());
        done[block].record(stream);
        usedBytes = blockBytes;
      }
      if (part > 0) {
        long begin = (part - 1) * blockBytes;
        long count = Math.min(blockBytes, sizeBytes - begin);
        int filled = part < parts ? (block + BLOCKS - 1) % BLOCKS : block;
        done[filled].await();
        host.asSlice(begin, count).copyFrom(memory.segment().asSlice(filled * blockBytes, count));
      }
    }
  }

  /** Goes on with the next block, once the copies from it are done. */
  private void next() {
    done[block].record(stream);
    block = (block + 1) % BLOCKS;
    done[block].await();
    usedBytes = 0;
  }

  private void copy(MemorySegment dst, MemorySegment src, long sizeBytes, int kind) {
    CudaStatus.check(
        "cudaMemcpyAsync", CudaRuntime.cudaMemcpyAsync(dst, src, sizeBytes, kind, stream));
  }

  @Override
  public void close() {
    for (CudaEvent event : done) {
      event.close();
    }
    memory.close();
  }
}
