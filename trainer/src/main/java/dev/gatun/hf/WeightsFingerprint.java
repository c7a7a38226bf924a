package dev.gatun.hf;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;

/**
 * XXH3-128 over weights: the hash of a list with one record for each tensor, sorted by name, in
 * which its data is again an XXH3-128. So it does not matter how tensors lie in files.
 */
final class WeightsFingerprint {
  private WeightsFingerprint() {}

  static String of(List<StoredTensor> tensors) {
    ByteArrayOutputStream records = new ByteArrayOutputStream();
    tensors.stream()
        .sorted(Comparator.comparing(StoredTensor::name))
        .forEach(tensor -> records.writeBytes(record(tensor)));
    return HexFormat.of().formatHex(Xxh3.hash128(records.toByteArray()));
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
                    + Xxh3.BYTES_128)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putInt(name.length)
            .put(name)
            .putInt(type.length)
            .put(type)
            .putInt(shape.length);
    for (long extent : shape) {
      bytes.putLong(extent);
    }
    return bytes.put(Xxh3.hash128(tensor.data())).array();
  }
}
