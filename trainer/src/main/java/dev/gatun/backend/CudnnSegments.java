package dev.gatun.backend;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * How cuDNN is told of segments: where each begins, in elements of every tensor, and how long it
 * is. One block of memory:
 *
 * <pre>
 *   i64 [capacity + 1] each: offsets in q, dQ, out, keys, lse        i32 [capacity] each: queries, keys
 * </pre>
 *
 * <p>Segments are in the order of their queries; behind the last there are empty ones that begin
 * where it ends.
 */
final class CudnnSegments {
  private static final int FIELDS = 4;

  private final int capacity;
  private final CudnnAttentionShape shape;

  /**
   * @param capacity most segments, used or empty: a multiple of 4, so that addresses of every
   *     fourth segment are aligned to 16 bytes
   */
  CudnnSegments(int capacity, CudnnAttentionShape shape) {
    if (capacity % CudnnAttentionShape.MIN_SEGMENTS != 0) {
      throw new IllegalArgumentException(
          "cudnn segments: capacity is %d, expected a multiple of %d"
              .formatted(capacity, CudnnAttentionShape.MIN_SEGMENTS));
    }
    this.capacity = capacity;
    this.shape = shape;
  }

  /** The tables of the block. */
  enum Table {
    OFFSET_Q,
    OFFSET_D_Q,
    OFFSET_OUT,
    OFFSET_KV,
    OFFSET_LSE,
    LENGTH_Q,
    LENGTH_KV
  }

  /** Bytes of the block. */
  long sizeBytes() {
    return 5 * offsetsBytes() + 2 * lengthsBytes();
  }

  /** Where a table's entry for {@code segment} lies in the block. */
  long offsetBytes(Table table, int segment) {
    return switch (table) {
      case OFFSET_Q -> segment * (long) Long.BYTES;
      case OFFSET_D_Q -> offsetsBytes() + segment * (long) Long.BYTES;
      case OFFSET_OUT -> 2 * offsetsBytes() + segment * (long) Long.BYTES;
      case OFFSET_KV -> 3 * offsetsBytes() + segment * (long) Long.BYTES;
      case OFFSET_LSE -> 4 * offsetsBytes() + segment * (long) Long.BYTES;
      case LENGTH_Q -> 5 * offsetsBytes() + segment * (long) Integer.BYTES;
      case LENGTH_KV -> 5 * offsetsBytes() + lengthsBytes() + segment * (long) Integer.BYTES;
    };
  }

  /**
   * Writes the block.
   *
   * @param fields queryBegin, queryLength, keyBegin, keyLength of each segment
   * @throws CudnnUnsupportedException if there are too many segments, one is too long, or their
   *     keys come in another order than their queries
   */
  void write(MemorySegment block, int[] fields) {
    int count = fields.length / FIELDS;
    if (count > capacity) {
      throw new CudnnUnsupportedException(
          "cudnn attention: %d segments, reserved for %d".formatted(count, capacity));
    }
    int[] order =
        IntStream.range(0, count)
            .boxed()
            .sorted(Comparator.comparingInt(s -> fields[FIELDS * s]))
            .mapToInt(Integer::intValue)
            .toArray();
    int queryEnd = 0;
    int keyEnd = 0;
    for (int i = 0; i < count; i++) {
      int[] segment = Arrays.copyOfRange(fields, FIELDS * order[i], FIELDS * order[i] + FIELDS);
      if (segment[2] < keyEnd) {
        throw new CudnnUnsupportedException(
            "cudnn attention: segment %d has keys from row %d on, behind those of earlier queries, which end at %d; expected keys in the order of queries, and apart"
                .formatted(order[i], segment[2], keyEnd));
      }
      if (segment[1] > shape.length() || segment[3] > shape.length()) {
        throw new CudnnUnsupportedException(
            "cudnn attention: segment %d has %d queries and %d keys, reserved for %d"
                .formatted(order[i], segment[1], segment[3], shape.length()));
      }
      set(block, i, segment[0], segment[2]);
      setLengths(block, i, segment[1], segment[3]);
      queryEnd = segment[0] + segment[1];
      keyEnd = segment[2] + segment[3];
    }
    for (int i = count; i < capacity; i++) {
      set(block, i, queryEnd, keyEnd);
      setLengths(block, i, 0, 0);
    }
    set(block, capacity, queryEnd, keyEnd);
  }

  private void set(MemorySegment block, int segment, long queryRow, long keyRow) {
    setOffset(block, Table.OFFSET_Q, segment, queryRow * shape.qStride());
    setOffset(block, Table.OFFSET_D_Q, segment, queryRow * shape.dQStride());
    setOffset(block, Table.OFFSET_OUT, segment, queryRow * shape.heads() * shape.headDim());
    setOffset(block, Table.OFFSET_KV, segment, keyRow * shape.kvHeads() * shape.headDim());
    setOffset(block, Table.OFFSET_LSE, segment, queryRow * shape.heads());
  }

  private void setOffset(MemorySegment block, Table table, int segment, long elements) {
    block.set(ValueLayout.JAVA_LONG, offsetBytes(table, segment), elements);
  }

  private void setLengths(MemorySegment block, int segment, int queries, int keys) {
    block.set(ValueLayout.JAVA_INT, offsetBytes(Table.LENGTH_Q, segment), queries);
    block.set(ValueLayout.JAVA_INT, offsetBytes(Table.LENGTH_KV, segment), keys);
  }

  /** Each table begins at a multiple of 16 bytes. */
  private long offsetsBytes() {
    return (capacity + 2L) * Long.BYTES;
  }

  private long lengthsBytes() {
    return (long) capacity * Integer.BYTES;
  }
}
