package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Writes safetensors files byte for byte as safetensors 0.8 does: tensors by type, the widest
 * first, then by name; the header padded with spaces so that the data begins at a multiple of 8.
 */
public final class SafetensorsWriter {
  /** What transformers and PEFT write, and older versions of them ask for. */
  private static final Map<String, String> PYTORCH = Map.of("format", "pt");

  private static final int ALIGNMENT = 8;

  /** Data is written in blocks of at most this, from where it lies if that is in host memory. */
  private static final long BLOCK_BYTES = 1L << 25;

  private static final JsonFactory JSON = new JsonFactory();

  /** The order of a file. Names compare as UTF-8, which is not the order of Java strings. */
  private static final Comparator<StoredTensor> FILE_ORDER =
      Comparator.comparing(StoredTensor::type, Comparator.reverseOrder())
          .thenComparing(
              tensor -> tensor.name().getBytes(StandardCharsets.UTF_8), Arrays::compareUnsigned);

  private SafetensorsWriter() {}

  /**
   * Writes a file, replacing what was there once it is whole and on the disk.
   *
   * @throws IllegalArgumentException if two tensors have the same name, or there are so many that
   *     no reader would take the file
   * @throws WriteException if it cannot be written
   */
  public static void write(Path file, Collection<StoredTensor> tensors) {
    write(file, tensors, Map.of());
  }

  /** As above, with more metadata than {@code format}. */
  public static void write(
      Path file, Collection<StoredTensor> tensors, Map<String, String> metadata) {
    List<StoredTensor> ordered = tensors.stream().sorted(FILE_ORDER).toList();
    byte[] header = header(ordered, metadata);
    long sizeBytes = SafetensorsHeader.LENGTH_BYTES + header.length + dataBytes(ordered);
    AtomicFiles.write(file, sizeBytes, channel -> write(channel, header, ordered));
  }

  /** What {@link AtomicFiles} writes for these tensors. */
  static AtomicFiles.Content content(Collection<StoredTensor> tensors) {
    List<StoredTensor> ordered = tensors.stream().sorted(FILE_ORDER).toList();
    byte[] header = header(ordered, Map.of());
    return channel -> write(channel, header, ordered);
  }

  /** Bytes of the data of all tensors together. */
  static long dataBytes(Collection<StoredTensor> tensors) {
    return tensors.stream().mapToLong(StoredTensor::sizeBytes).reduce(0, Math::addExact);
  }

  private static void write(FileChannel channel, byte[] header, List<StoredTensor> tensors)
      throws IOException {
    ByteBuffer begin =
        ByteBuffer.allocate(SafetensorsHeader.LENGTH_BYTES + header.length)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(header.length)
            .put(header);
    AtomicFiles.writeFully(channel, begin.flip());
    for (StoredTensor tensor : tensors) {
      for (long offset = 0; offset < tensor.sizeBytes(); offset += BLOCK_BYTES) {
        long count = Math.min(BLOCK_BYTES, tensor.sizeBytes() - offset);
        AtomicFiles.writeFully(channel, tensor.block(offset, count));
      }
    }
  }

  private static byte[] header(List<StoredTensor> tensors, Map<String, String> metadata) {
    ByteArrayOutputStream header = new ByteArrayOutputStream();
    try (JsonGenerator json = JSON.createGenerator(header)) {
      json.writeStartObject();
      json.writeObjectFieldStart(SafetensorsHeader.METADATA);
      Map<String, String> all = new TreeMap<>(metadata);
      all.putAll(PYTORCH);
      for (Map.Entry<String, String> entry : all.entrySet()) {
        json.writeStringField(entry.getKey(), entry.getValue());
      }
      json.writeEndObject();
      Set<String> names = new HashSet<>();
      long offset = 0;
      for (StoredTensor tensor : tensors) {
        if (!names.add(tensor.name()) || tensor.name().equals(SafetensorsHeader.METADATA)) {
          throw new IllegalArgumentException("a file cannot hold another " + tensor);
        }
        long end = Math.addExact(offset, tensor.sizeBytes());
        json.writeObjectFieldStart(tensor.name());
        json.writeStringField("dtype", tensor.type().name());
        json.writeFieldName("shape");
        writeNumbers(json, tensor.shape());
        json.writeFieldName("data_offsets");
        writeNumbers(json, offset, end);
        json.writeEndObject();
        offset = end;
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException("writing to memory failed", e);
    }
    while (header.size() % ALIGNMENT != 0) {
      header.write(' ');
    }
    if (header.size() > SafetensorsHeader.MAX_HEADER_BYTES) {
      throw new IllegalArgumentException(
          "the header of %d tensors is %d bytes, but readers take at most %d"
              .formatted(tensors.size(), header.size(), SafetensorsHeader.MAX_HEADER_BYTES));
    }
    return header.toByteArray();
  }

  private static void writeNumbers(JsonGenerator json, long... numbers) throws IOException {
    json.writeArray(numbers, 0, numbers.length);
  }
}
