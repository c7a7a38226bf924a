package dev.gatun.hf;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a safetensors file says of itself: 8 bytes of little-endian header length, the header in
 * JSON, then the data of all tensors without a gap. Refuses what safetensors 0.8 refuses, and a key
 * that is written twice.
 */
final class SafetensorsHeader {
  static final String METADATA = "__metadata__";

  static final int LENGTH_BYTES = Long.BYTES;

  /** The limit of safetensors. */
  static final long MAX_HEADER_BYTES = 100_000_000;

  private static final int MAX_RANK = 64;
  private static final int MAX_NESTING = 64;
  private static final byte[] LFS_POINTER =
      "version https://git-lfs".getBytes(StandardCharsets.US_ASCII);
  private static final String FETCH_AGAIN = "; the file is damaged: fetch it again";
  private static final ValueLayout.OfLong LENGTH =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static final JsonFactory JSON =
      JsonFactory.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .streamReadConstraints(
              StreamReadConstraints.builder().maxNestingDepth(MAX_NESTING).build())
          .build();

  /** The metadata, and the tensors in the order of their data. */
  record Contents(Map<String, String> metadata, List<StoredTensor> tensors) {}

  private record Entry(StoredTensor tensor, long begin, long end) {}

  private final Path file;
  private final MemorySegment data;
  private final JsonParser parser;

  private SafetensorsHeader(Path file, MemorySegment data, JsonParser parser) {
    this.file = file;
    this.data = data;
    this.parser = parser;
  }

  /**
   * Reads the header of a file.
   *
   * @param bytes the whole file; the tensors are slices of it
   */
  static Contents parse(Path file, MemorySegment bytes) {
    if (bytes.byteSize() < LENGTH_BYTES) {
      throw new FormatException(
          file,
          "is %d bytes, expected a safetensors file of at least %d"
                  .formatted(bytes.byteSize(), LENGTH_BYTES)
              + FETCH_AGAIN);
    }
    if (startsWith(bytes, LFS_POINTER)) {
      throw new FormatException(
          file, "is a Git LFS pointer, not the tensors: run 'git lfs pull' in its folder");
    }
    long length = bytes.get(LENGTH, 0);
    if (Long.compareUnsigned(length, MAX_HEADER_BYTES) > 0) {
      throw new FormatException(
          file,
          "says that its header is %s bytes, expected at most %d; it is no safetensors file"
              .formatted(Long.toUnsignedString(length), MAX_HEADER_BYTES));
    }
    if (length > bytes.byteSize() - LENGTH_BYTES) {
      throw new FormatException(
          file,
          "says that its header is %d bytes, but only %d follow"
                  .formatted(length, bytes.byteSize() - LENGTH_BYTES)
              + FETCH_AGAIN);
    }
    byte[] header = bytes.asSlice(LENGTH_BYTES, length).toArray(ValueLayout.JAVA_BYTE);
    requireJsonText(file, header);
    MemorySegment data = bytes.asSlice(LENGTH_BYTES + length).asReadOnly();
    try (JsonParser parser = JSON.createParser(header)) {
      return new SafetensorsHeader(file, data, parser).contents();
    } catch (JsonProcessingException e) {
      // A number of too many digits has no location.
      String place =
          e.getLocation() == null ? "" : " at byte " + offset(e.getLocation().getByteOffset());
      throw new FormatException(
          file, "header is not valid JSON%s: %s".formatted(place, firstLine(e)) + FETCH_AGAIN, e);
    } catch (IOException e) {
      throw new FormatException(file, "header cannot be read: " + Shown.line(e.toString()), e);
    }
  }

  private Contents contents() throws IOException {
    Map<String, String> metadata = Map.of();
    List<Entry> entries = new ArrayList<>();
    expect(JsonToken.START_OBJECT, "header", "an object");
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      if (name.equals(METADATA)) {
        metadata = metadata();
      } else {
        entries.add(entry(name));
      }
    }
    if (parser.nextToken() != null) {
      throw wrong("header", "followed by " + parser.currentToken(), "nothing but spaces");
    }
    entries.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
    requireNoGaps(entries);
    return new Contents(metadata, entries.stream().map(Entry::tensor).toList());
  }

  private Map<String, String> metadata() throws IOException {
    Map<String, String> metadata = new LinkedHashMap<>();
    expect(JsonToken.START_OBJECT, METADATA, "an object of strings");
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String key = parser.currentName();
      expect(JsonToken.VALUE_STRING, METADATA + " " + Shown.quoted(key), "a string");
      metadata.put(key, parser.getText());
    }
    return metadata;
  }

  private Entry entry(String name) throws IOException {
    String what = "tensor " + Shown.quoted(name);
    requireUnicode(name, what);
    expect(JsonToken.START_OBJECT, what, "an object of dtype, shape and data_offsets");
    ElementType type = null;
    long[] shape = null;
    long[] offsets = null;
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      switch (parser.currentName()) {
        case "dtype" -> type = elementType(what);
        case "shape" -> shape = numbers(what + " shape");
        case "data_offsets" -> offsets = numbers(what + " data_offsets");
        default -> {
          parser.nextToken();
          parser.skipChildren();
        }
      }
    }
    return entry(
        name,
        required(type, what, "dtype"),
        required(shape, what, "shape"),
        required(offsets, what, "data_offsets"));
  }

  private Entry entry(String name, ElementType type, long[] shape, long[] offsets) {
    String what = "tensor " + Shown.quoted(name);
    if (offsets.length != 2 || offsets[1] < offsets[0] || offsets[1] > data.byteSize()) {
      throw wrong(
          what + " data_offsets",
          Arrays.toString(offsets),
          "[begin, end] within the %d bytes behind the header".formatted(data.byteSize()));
    }
    long begin = offsets[0];
    long end = offsets[1];
    long sizeBytes;
    try {
      sizeBytes = StoredTensor.sizeBytes(type, shape);
    } catch (ArithmeticException e) {
      throw new FormatException(
          file,
          "%s has shape %s of %s, which has no size: %s"
              .formatted(what, Arrays.toString(shape), type, e.getMessage()),
          e);
    }
    if (end - begin != sizeBytes) {
      throw wrong(
          what,
          "%d bytes by data_offsets %s".formatted(end - begin, Arrays.toString(offsets)),
          "%d by dtype %s and shape %s".formatted(sizeBytes, type, Arrays.toString(shape)));
    }
    return new Entry(
        new StoredTensor(name, type, shape, data.asSlice(begin, sizeBytes)), begin, end);
  }

  private ElementType elementType(String what) throws IOException {
    expect(JsonToken.VALUE_STRING, what + " dtype", "a string");
    ElementType type = ElementType.named(parser.getText());
    if (type == null) {
      throw wrong(
          what + " dtype",
          Shown.quoted(parser.getText()),
          "one of " + Arrays.toString(ElementType.values()));
    }
    return type;
  }

  private long[] numbers(String what) throws IOException {
    expect(JsonToken.START_ARRAY, what, "an array of whole numbers");
    long[] numbers = new long[MAX_RANK];
    int count = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (count == MAX_RANK) {
        throw wrong(what, "longer", "at most " + MAX_RANK + " numbers");
      }
      numbers[count] = number(what);
      count++;
    }
    return Arrays.copyOf(numbers, count);
  }

  private long number(String what) throws IOException {
    // The text is looked at for "-0", which safetensors refuses too.
    if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT
        || parser.getText().startsWith("-")
        || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
      throw wrong(what, "with " + Shown.line(parser.getText()), "whole numbers from 0 to 2^63 - 1");
    }
    return parser.getLongValue();
  }

  private void requireNoGaps(List<Entry> entries) {
    long position = 0;
    for (Entry entry : entries) {
      if (entry.begin != position) {
        throw wrong(
            "tensor " + Shown.quoted(entry.tensor.name()) + " data",
            "at [%d, %d]".formatted(entry.begin, entry.end),
            "to begin at %d, where the one before ends".formatted(position));
      }
      position = entry.end;
    }
    if (position != data.byteSize()) {
      throw wrong(
          "data of " + entries.size() + " tensors",
          position + " bytes",
          data.byteSize() + " bytes");
    }
  }

  private void expect(JsonToken token, String what, String expected) throws IOException {
    if (parser.nextToken() != token) {
      String got = parser.currentToken() == null ? "empty" : Shown.line(parser.getText());
      throw wrong(what, got, expected);
    }
  }

  private <T> T required(@Nullable T value, String what, String key) {
    if (value == null) {
      throw wrong(what, "without " + key, "dtype, shape and data_offsets");
    }
    return value;
  }

  /** A name with half of a surrogate pair could not be written again. */
  private void requireUnicode(String name, String what) {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(name)) {
      throw wrong(what, "named with half of a surrogate pair", "Unicode text");
    }
  }

  private FormatException wrong(String what, String got, String expected) {
    return new FormatException(
        file,
        "%s is %s, expected %s (before byte %d)"
                .formatted(what, got, expected, offset(parser.currentLocation().getByteOffset()))
            + FETCH_AGAIN);
  }

  /**
   * Refuses text that is not UTF-8, and a start by which the parser would take it for UTF-16 or
   * skip a byte order mark.
   */
  private static void requireJsonText(Path file, byte[] header) {
    int start = 0;
    while (start < header.length && " \t\r\n".indexOf(header[start]) >= 0) {
      start++;
    }
    if (start == header.length || header[start] != '{') {
      throw new FormatException(
          file,
          "header begins with %s, expected {"
                  .formatted(
                      start == header.length
                          ? "nothing"
                          : "byte 0x%02x".formatted(header[start] & 0xff))
              + FETCH_AGAIN);
    }
    int malformed = findMalformed(header);
    if (malformed >= 0) {
      throw new FormatException(
          file, "header is not UTF-8 at byte %d".formatted(offset(malformed)) + FETCH_AGAIN);
    }
  }

  /** Where {@code text} stops to be UTF-8 without NUL; -1 if it does not. */
  private static int findMalformed(byte[] text) {
    CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
    ByteBuffer in = ByteBuffer.wrap(text);
    CharBuffer out = CharBuffer.allocate(Math.min(text.length + 1, 8192));
    CoderResult result;
    do {
      result = decoder.decode(in, out.clear(), true);
    } while (result.isOverflow());
    if (result.isError()) {
      return in.position();
    }
    for (int i = 0; i < text.length; i++) {
      if (text[i] == 0) {
        return i;
      }
    }
    return -1;
  }

  private static boolean startsWith(MemorySegment bytes, byte[] prefix) {
    return bytes.byteSize() >= prefix.length
        && bytes.asSlice(0, prefix.length).mismatch(MemorySegment.ofArray(prefix)) < 0;
  }

  /** From an offset in the header to one in the file. */
  private static long offset(long headerOffset) {
    return LENGTH_BYTES + Math.max(headerOffset, 0);
  }

  private static String firstLine(JsonProcessingException e) {
    return Shown.line(e.getOriginalMessage().lines().findFirst().orElse("unreadable"));
  }
}
