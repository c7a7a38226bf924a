package dev.gatun.store;

import dev.gatun.hf.Xxh3;
import java.nio.ByteBuffer;

/** Names the scores of a pair: XXH3-128 of all that they depend on; see {@link ReferenceKeys}. */
public record ReferenceKey(long high, long low) {
  static final int BYTES = Xxh3.BYTES_128;

  static ReferenceKey of(byte[] hash) {
    ByteBuffer bytes = ByteBuffer.wrap(hash);
    return new ReferenceKey(bytes.getLong(), bytes.getLong());
  }

  byte[] bytes() {
    return ByteBuffer.allocate(BYTES).putLong(high).putLong(low).array();
  }
}
