package dev.gatun.op;

import static dev.gatun.op.Check.dim;

import dev.gatun.backend.AttentionProvider;
import dev.gatun.backend.Backend;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Slab;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * The runs of variable-length attention: queries {@code [queryBegin, + queryLength)} see keys
 * {@code [keyBegin, + keyLength)}, causal, aligned bottom-right: the last query sees the last key.
 *
 * <p>Query ranges are disjoint. Key ranges must be disjoint too where gradients are wanted.
 *
 * <p>They lie on the device, where kernels read them, and in host memory, by which launches are
 * sized.
 */
public final class Segments {
  /** Numbers that describe one segment. */
  private static final int FIELDS = 4;

  private static final Check CHECK = new Check("attention");

  private final int[] fields;
  private final Tensor table;
  private final long queryEnd;
  private final long keyEnd;
  private final boolean keysDisjoint;
  private long launch;

  private Segments(int[] fields, Tensor table) {
    this.fields = fields;
    this.table = table;
    long lastQuery = 0;
    long lastKey = 0;
    for (int i = 0; i < fields.length; i += FIELDS) {
      int queryBegin = fields[i];
      int queryLength = fields[i + 1];
      int keyBegin = fields[i + 2];
      int keyLength = fields[i + 3];
      CHECK.that(
          queryBegin >= 0 && keyBegin >= 0 && queryLength >= 1 && keyLength >= queryLength,
          "segment %d is queries [%d, +%d) over keys [%d, +%d), expected keyLength >= queryLength"
              + " >= 1 and no negative begin",
          i / FIELDS,
          queryBegin,
          queryLength,
          keyBegin,
          keyLength);
      lastQuery = Math.max(lastQuery, (long) queryBegin + queryLength);
      lastKey = Math.max(lastKey, (long) keyBegin + keyLength);
    }
    this.queryEnd = lastQuery;
    this.keyEnd = lastKey;
    CHECK.that(disjoint(fields, 0), "segments have overlapping queries");
    this.keysDisjoint = disjoint(fields, 2);
  }

  /**
   * Segments from {@code queryBegin, queryLength, keyBegin, keyLength} of each, one after the
   * other, copied to the device.
   *
   * @param table [out] {@code [segments, 4]} i32
   * @throws IllegalArgumentException if a segment is empty, has fewer keys than queries, or two
   *     segments share a query
   */
  public static Segments upload(Backend backend, Tensor table, int... fields) {
    CHECK.that(
        fields.length > 0 && fields.length % FIELDS == 0,
        "segments have %d numbers, expected 4 for each",
        fields.length);
    CHECK.tensor(
        "segments",
        table,
        DType.I32,
        dim("segments", fields.length / FIELDS),
        dim("fields", FIELDS));
    Segments segments = new Segments(fields.clone(), table);
    backend.upload(table, segments.fields);
    backend.attention().prepare(segments.fields);
    segments.launch = backend.attention().launch(segments.fields);
    return segments;
  }

  /** The tensor that {@link #upload} fills. */
  public static Tensor allocate(Slab slab, int count) {
    return slab.allocate("segments", DType.I32, count, FIELDS);
  }

  /** Number of segments. */
  public int count() {
    return fields.length / FIELDS;
  }

  /** Four numbers each, as {@link #upload} takes them. Not to be changed. */
  int[] fields() {
    return fields;
  }

  /**
   * What attention's launches depend on, besides the table; see {@link AttentionProvider#launch}.
   */
  public long launch() {
    return launch;
  }

  /** {@code [segments, 4]} i32 on the device. */
  public Tensor table() {
    return table;
  }

  /** One past the last query row. */
  long queryEnd() {
    return queryEnd;
  }

  /** One past the last key row. */
  long keyEnd() {
    return keyEnd;
  }

  boolean keysDisjoint() {
    return keysDisjoint;
  }

  private static boolean disjoint(int[] fields, int begin) {
    int[] order =
        IntStream.range(0, fields.length / FIELDS)
            .boxed()
            .sorted(Comparator.comparingInt(s -> fields[FIELDS * s + begin]))
            .mapToInt(Integer::intValue)
            .toArray();
    long end = 0;
    for (int s : order) {
      if (fields[FIELDS * s + begin] < end) {
        return false;
      }
      end = (long) fields[FIELDS * s + begin] + fields[FIELDS * s + begin + 1];
    }
    return true;
  }

  @Override
  public String toString() {
    return "segments " + Arrays.toString(fields);
  }
}
