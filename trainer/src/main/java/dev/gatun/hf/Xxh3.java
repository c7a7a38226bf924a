package dev.gatun.hf;

import dev.gatun.library.LwjglLibrary;
import dev.gatun.library.LwjglLibraryException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import org.lwjgl.util.xxhash.XXHash;

/** Hashes of bytes, at the speed of memory. They find accidents, not intent. */
public final class Xxh3 {
  /** Bytes of a {@link #hash128}. */
  public static final int BYTES_128 = 16;

  static {
    LwjglLibrary.XXHASH.configure();
  }

  private Xxh3() {}

  /**
   * XXH3-128, high half first, as xxhsum prints it.
   *
   * @throws LwjglLibraryException if the native library cannot be loaded
   */
  public static byte[] hash128(byte[] bytes) {
    try (Arena arena = Arena.ofConfined()) {
      return hash128(arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes));
    }
  }

  /** The same, of a native segment. */
  static byte[] hash128(MemorySegment data) {
    try (Arena arena = Arena.ofConfined()) {
      // XXH128_hash_t is {uint64_t low64, high64}.
      MemorySegment result = arena.allocate(BYTES_128, Long.BYTES);
      XXHash.nXXH3_128bits(data.address(), data.byteSize(), result.address());
      return ByteBuffer.allocate(BYTES_128)
          .putLong(result.get(ValueLayout.JAVA_LONG, Long.BYTES))
          .putLong(result.get(ValueLayout.JAVA_LONG, 0))
          .array();
    } catch (LinkageError e) {
      throw LwjglLibrary.XXHASH.unavailable(e);
    }
  }
}
