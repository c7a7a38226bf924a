package dev.gatun.hf;

import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/** Safetensors files made by hand, right or wrong. */
final class SafetensorsBytes {
  private static final Path FILE = Path.of("crafted.safetensors");

  private SafetensorsBytes() {}

  /** A file of this header and {@code dataBytes} bytes 0, 1, 2... */
  static byte[] file(String header, int dataBytes) {
    return file(header.getBytes(StandardCharsets.UTF_8), dataBytes);
  }

  static byte[] file(byte[] header, int dataBytes) {
    return withLength(header.length, header, dataBytes);
  }

  /** The same, with a header length that may be a lie. */
  static byte[] withLength(long length, byte[] header, int dataBytes) {
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    file.writeBytes(
        ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).putLong(length).array());
    file.writeBytes(header);
    for (int i = 0; i < dataBytes; i++) {
      file.write(i);
    }
    return file.toByteArray();
  }

  static SafetensorsHeader.Contents parse(byte[] file) {
    return SafetensorsHeader.parse(FILE, MemorySegment.ofArray(file));
  }
}
