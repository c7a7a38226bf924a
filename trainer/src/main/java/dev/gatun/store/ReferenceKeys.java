package dev.gatun.store;

import dev.gatun.hf.Xxh3;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Consumer;

/**
 * Makes keys for the pairs that one reference scores. A key is a hash of the facts that all its
 * scores depend on (weights, precision, numerics), of the pair's token ids, and, where the bits of
 * a row depend on the rows beside it, of the pack that it is scored in and its place there. So what
 * changes a bit of a score changes its key, and a score that does not belong is never found.
 */
public final class ReferenceKeys {
  /** What a key says of company; no key of one kind is one of the other. */
  private static final int ALONE = 0;

  private static final int IN_PACK = 1;

  /** A pair's token ids. */
  public record Ids(int[] prompt, int[] chosen, int[] rejected) {
    private int sizeBytes() {
      return Integer.BYTES * (3 + prompt.length + chosen.length + rejected.length);
    }

    /** Each list after its length, so that a token cannot pass from one to the next. */
    private void putTo(ByteBuffer bytes) {
      for (int[] ids : new int[][] {prompt, chosen, rejected}) {
        bytes.putInt(ids.length);
        bytes.asIntBuffer().put(ids);
        bytes.position(bytes.position() + Integer.BYTES * ids.length);
      }
    }
  }

  private final byte[] reference;

  private ReferenceKeys(byte[] reference) {
    this.reference = reference;
  }

  /** Keys of scores that depend on these texts, in this order, besides token ids. */
  public static ReferenceKeys of(List<String> facts) {
    List<byte[]> texts = facts.stream().map(fact -> fact.getBytes(StandardCharsets.UTF_8)).toList();
    return new ReferenceKeys(
        hash(
            texts.stream().mapToInt(text -> Integer.BYTES + text.length).sum(),
            bytes -> texts.forEach(text -> bytes.putInt(text.length).put(text))));
  }

  /** The key of a pair whose scores depend on no other. */
  public ReferenceKey alone(Ids pair) {
    return ReferenceKey.of(
        hash(
            reference.length + Integer.BYTES + pair.sizeBytes(),
            bytes -> pair.putTo(bytes.put(reference).putInt(ALONE))));
  }

  /** The pack of pairs that are scored together, in their order. */
  public Pack pack(List<Ids> pairs) {
    return new Pack(
        hash(
            pairs.stream().mapToInt(Ids::sizeBytes).sum(),
            bytes -> pairs.forEach(pair -> pair.putTo(bytes))));
  }

  /** Keys of the pairs of one pack. */
  public final class Pack {
    private final byte[] pairs;

    private Pack(byte[] pairs) {
      this.pairs = pairs;
    }

    /** The key of the pair at {@code index}. */
    public ReferenceKey key(int index) {
      return ReferenceKey.of(
          hash(
              reference.length + pairs.length + 2 * Integer.BYTES,
              bytes -> bytes.put(reference).putInt(IN_PACK).put(pairs).putInt(index)));
    }
  }

  private static byte[] hash(int sizeBytes, Consumer<ByteBuffer> content) {
    byte[] bytes = new byte[sizeBytes];
    content.accept(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
    return Xxh3.hash128(bytes);
  }
}
