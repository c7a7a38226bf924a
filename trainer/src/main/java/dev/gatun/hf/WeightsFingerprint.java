package dev.gatun.hf;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.lwjgl.system.Configuration;
import org.lwjgl.util.xxhash.XXHash;

/**
 * XXH3-128 over weights: the hash of a list with one record for each tensor, sorted by name, in
 * which its data is again an XXH3-128. So it does not matter how tensors lie in files.
 */
final class WeightsFingerprint {
  private static final int HASH_BYTES = 16;

  /** The library's file in a distribution; elsewhere LWJGL unpacks it from its jar. */
  private static final @Nullable Path INSTALLED =
      InstalledLibraries.find(System.mapLibraryName("lwjgl_xxhash"));

  static {
    // The default backends of LWJGL need sun.misc.Unsafe or an export of java.base.
    Configuration.MEMORY_BACKEND.set("ffm");
    if (INSTALLED != null) {
      Configuration.LIBRARY_PATH.set(INSTALLED.resolveSibling("").toString());
    }
  }

  private WeightsFingerprint() {}

  static String of(List<StoredTensor> tensors) {
    ByteArrayOutputStream records = new ByteArrayOutputStream();
    tensors.stream()
        .sorted(Comparator.comparing(StoredTensor::name))
        .forEach(tensor -> records.writeBytes(record(tensor)));
    try (Arena arena = Arena.ofConfined()) {
      return HexFormat.of()
          .formatHex(hash(arena.allocateFrom(ValueLayout.JAVA_BYTE, records.toByteArray())));
    }
  }

  /** Name, type and shape, each after its length, and the hash of the data. */
  private static byte[] record(StoredTensor tensor) {
    byte[] name = tensor.name().getBytes(StandardCharsets.UTF_8);
    byte[] type = tensor.type().name().getBytes(StandardCharsets.US_ASCII);
    long[] shape = tensor.shape();
    ByteBuffer bytes =
        ByteBuffer.allocate(
                3 * Integer.BYTES
                    + name.length
                    + type.length
                    + shape.length * Long.BYTES
                    + HASH_BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putInt(name.length)
            .put(name)
            .putInt(type.length)
            .put(type)
            .putInt(shape.length);
    for (long extent : shape) {
      bytes.putLong(extent);
    }
    return bytes.put(hash(tensor.data())).array();
  }

  /** XXH3-128 of a native segment, high half first, as xxhsum prints it. */
  static byte[] hash(MemorySegment data) {
    try (Arena arena = Arena.ofConfined()) {
      // XXH128_hash_t is {uint64_t low64, high64}.
      MemorySegment result = arena.allocate(HASH_BYTES, Long.BYTES);
      XXHash.nXXH3_128bits(data.address(), data.byteSize(), result.address());
      return ByteBuffer.allocate(HASH_BYTES)
          .putLong(result.get(ValueLayout.JAVA_LONG, Long.BYTES))
          .putLong(result.get(ValueLayout.JAVA_LONG, 0))
          .array();
    } catch (LinkageError e) {
      throw new HashLibraryException(INSTALLED, e);
    }
  }
}
