package dev.gatun.store;

import dev.gatun.hf.Xxh3;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Log-probabilities of the predicted tokens of a pair's answers. The arrays are not copied: do not
 * write to them.
 *
 * <p>Stored as {@code magic i32, chosen i32, rejected i32, chosen f32..., rejected f32..., checksum
 * 16 bytes}, little-endian. The checksum is XXH3-128 of the key and all that stands before it, so a
 * value that lies under another's key is as wrong as a damaged one.
 */
public record AnswerLogProbs(float[] chosen, float[] rejected) {
  private static final int MAGIC = 0x31505247; // "GRP1"
  private static final int HEADER_BYTES = 3 * Integer.BYTES;

  byte[] encode(ReferenceKey key) {
    int valueBytes = HEADER_BYTES + Float.BYTES * (chosen.length + rejected.length);
    ByteBuffer value =
        ByteBuffer.allocate(valueBytes + Xxh3.BYTES_128).order(ByteOrder.LITTLE_ENDIAN);
    value.putInt(MAGIC).putInt(chosen.length).putInt(rejected.length);
    for (float[] answer : new float[][] {chosen, rejected}) {
      value.asFloatBuffer().put(answer);
      value.position(value.position() + Float.BYTES * answer.length);
    }
    return value.put(checksum(key, value.array(), valueBytes)).array();
  }

  /** What {@link #encode} made, or null if anything of it has changed. */
  static @Nullable AnswerLogProbs decode(ReferenceKey key, byte[] bytes) {
    int valueBytes = bytes.length - Xxh3.BYTES_128;
    if (valueBytes < HEADER_BYTES
        || !Arrays.equals(
            checksum(key, bytes, valueBytes),
            Arrays.copyOfRange(bytes, valueBytes, bytes.length))) {
      return null;
    }
    ByteBuffer value = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int magic = value.getInt();
    float[][] answers = {new float[0], new float[0]};
    long[] lengths = {value.getInt(), value.getInt()};
    if (magic != MAGIC
        || lengths[0] < 0
        || lengths[1] < 0
        || HEADER_BYTES + Float.BYTES * (lengths[0] + lengths[1]) != valueBytes) {
      return null;
    }
    for (int side = 0; side < answers.length; side++) {
      answers[side] = new float[(int) lengths[side]];
      value.asFloatBuffer().get(answers[side]);
      value.position(value.position() + Float.BYTES * answers[side].length);
    }
    return new AnswerLogProbs(answers[0], answers[1]);
  }

  private static byte[] checksum(ReferenceKey key, byte[] value, int valueBytes) {
    byte[] all = Arrays.copyOf(key.bytes(), ReferenceKey.BYTES + valueBytes);
    System.arraycopy(value, 0, all, ReferenceKey.BYTES, valueBytes);
    return Xxh3.hash128(all);
  }
}
