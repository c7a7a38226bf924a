package dev.gatun.hf;

import static dev.gatun.hf.SafetensorsBytes.file;
import static dev.gatun.hf.SafetensorsBytes.parse;
import static dev.gatun.hf.SafetensorsBytes.withLength;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * 42 crafted files, each refused or accepted as safetensors 0.8.0 does; but for duplicate keys,
 * which safetensors accepts, taking one of them.
 */
final class SafetensorsHeaderTest {
  private static final String A = "\"a\":" + entry("F32", "[2]", "[0,8]");

  /** A file that is wrong, and part of the message that says so. */
  record Refused(String what, byte[] file, String message) {
    @Override
    public String toString() {
      return what;
    }
  }

  /** A file that is right, and the names and bytes of its tensors, by place. */
  record Accepted(String what, byte[] file, Map<String, Integer> sizes) {
    @Override
    public String toString() {
      return what;
    }
  }

  static List<Refused> refused() {
    byte[] header = header(A).getBytes(StandardCharsets.UTF_8);
    byte[] badUtf8 = header.clone();
    badUtf8[2] = (byte) 0xff;
    return List.of(
        new Refused("shorter than a length", new byte[7], "is 7 bytes, expected"),
        new Refused(
            "length 2^63", withLength(Long.MIN_VALUE, header, 8), "header is 9223372036854775808"),
        new Refused(
            "length 2^64 - 1", withLength(-1, header, 8), "header is 18446744073709551615 bytes"),
        new Refused(
            "length above the limit",
            withLength(100_000_001, header, 8),
            "header is 100000001 bytes, expected at most 100000000"),
        new Refused(
            "length above the file",
            withLength(header.length + 9, header, 8),
            "but only " + (header.length + 8) + " follow"),
        new Refused("length 0", withLength(0, header, 8), "header begins with nothing"),
        new Refused("invalid JSON", file("{\"a\":", 8), "not valid JSON"),
        new Refused("no object", file("[]", 0), "begins with byte 0x5b, expected {"),
        new Refused("bad UTF-8", file(badUtf8, 8), "not UTF-8 at byte 10"),
        new Refused(
            "NaN", file(header("\"a\":" + entry("F32", "[NaN]", "[0,8]")), 8), "not valid JSON"),
        new Refused(
            "overlap",
            file(header(A, "\"b\":" + entry("F32", "[2]", "[4,12]")), 12),
            "tensor \"b\" data is at [4, 12], expected to begin at 8"),
        new Refused(
            "hole",
            file(header(A, "\"b\":" + entry("F32", "[1]", "[12,16]")), 16),
            "tensor \"b\" data is at [12, 16], expected to begin at 8"),
        new Refused(
            "gap at the start",
            file(header("\"a\":" + entry("F32", "[1]", "[4,8]")), 8),
            "tensor \"a\" data is at [4, 8], expected to begin at 0"),
        new Refused(
            "the same range twice",
            file(header(A, "\"b\":" + entry("F32", "[2]", "[0,8]")), 8),
            "tensor \"b\" data is at [0, 8], expected to begin at 8"),
        new Refused("trailing bytes", file(header(A), 9), "is 8 bytes, expected 9 bytes"),
        new Refused("truncated data", file(header(A), 7), "within the 7 bytes behind the header"),
        new Refused(
            "end before begin",
            file(header("\"a\":" + entry("F32", "[2]", "[8,0]")), 8),
            "data_offsets is [8, 0]"),
        new Refused(
            "negative shape",
            file(header("\"a\":" + entry("F32", "[-2]", "[0,8]")), 8),
            "shape is with -2, expected whole numbers"),
        new Refused(
            "fractional shape",
            file(header("\"a\":" + entry("F32", "[2.0]", "[0,8]")), 8),
            "shape is with 2.0, expected whole numbers"),
        new Refused(
            "negative offset",
            file(header("\"a\":" + entry("F32", "[2]", "[-8,0]")), 8),
            "data_offsets is with -8"),
        new Refused(
            "fractional offset",
            file(header("\"a\":" + entry("F32", "[2]", "[0,8.0]")), 8),
            "data_offsets is with 8.0"),
        new Refused(
            "size other than shape times type",
            file(header("\"a\":" + entry("F32", "[3]", "[0,8]")), 8),
            "is 8 bytes by data_offsets [0, 8], expected 12 by dtype F32 and shape [3]"),
        new Refused(
            "overflowing shape",
            file(header("\"a\":" + entry("F32", "[4294967296,4294967296]", "[0,8]")), 8),
            "which has no size: long overflow"),
        new Refused(
            "unknown type",
            file(header("\"a\":" + entry("F33", "[2]", "[0,8]")), 8),
            "dtype is \"F33\", expected one of [BOOL,"),
        new Refused(
            "missing field",
            file("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8),
            "tensor \"a\" is without shape"),
        new Refused("null tensor", file("{\"a\":null}", 0), "tensor \"a\" is null, expected"),
        new Refused(
            "metadata that is no string",
            file(header("\"__metadata__\":{\"format\":1}", A), 8),
            "__metadata__ \"format\" is 1, expected a string"),
        new Refused(
            "nested metadata",
            file(header("\"__metadata__\":{\"format\":{\"pt\":\"1\"}}", A), 8),
            "__metadata__ \"format\" is {, expected a string"),
        new Refused("trailing NUL", file(header(A) + "\0", 8), "not UTF-8 at byte"),
        new Refused(
            "JSON 200,000 deep",
            file("{\"a\":" + "[".repeat(200_000) + "]".repeat(200_000) + "}", 0),
            "tensor \"a\" is [, expected an object"));
  }

  static List<Accepted> accepted() {
    String b = "\"b\":" + entry("F32", "[1]", "[8,12]");
    return List.of(
        new Accepted("no tensors", file("{}", 0), Map.of()),
        new Accepted(
            "an extent of 0",
            file(header("\"a\":" + entry("F32", "[0,5]", "[0,0]")), 0),
            Map.of("a", 0)),
        new Accepted(
            "a scalar", file(header("\"a\":" + entry("F32", "[]", "[0,4]")), 4), Map.of("a", 4)),
        new Accepted(
            "more fields",
            file("{\"a\":{\"dtype\":\"F32\",\"x\":[{}],\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
            Map.of("a", 8)),
        new Accepted("leading spaces", file("   " + header(A), 8), Map.of("a", 8)),
        new Accepted("trailing spaces", file(header(A) + "     ", 8), Map.of("a", 8)),
        new Accepted("unsorted", file(header(b, A), 12), Map.of("a", 8, "b", 4)),
        new Accepted(
            "header of odd length",
            file(header(A) + (header(A).length() % 2 == 0 ? " " : ""), 8),
            Map.of("a", 8)),
        new Accepted(
            "name that looks like a path",
            file(header("\"../../a\":" + entry("F32", "[2]", "[0,8]")), 8),
            Map.of("../../a", 8)),
        new Accepted(
            "BF16", file(header("\"a\":" + entry("BF16", "[3]", "[0,6]")), 6), Map.of("a", 6)),
        new Accepted(
            "F4, two to the byte",
            file(header("\"a\":" + entry("F4", "[4]", "[0,2]")), 2),
            Map.of("a", 2)));
  }

  @ParameterizedTest
  @MethodSource("refused")
  void refuses(Refused refused) {
    FormatException e = assertThrows(FormatException.class, () -> parse(refused.file));
    assertTrue(e.getMessage().startsWith("crafted.safetensors: "), e.getMessage());
    assertTrue(e.getMessage().contains(refused.message), e.getMessage());
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
  }

  @ParameterizedTest
  @MethodSource("accepted")
  void accepts(Accepted accepted) {
    List<StoredTensor> tensors = parse(accepted.file).tensors();
    assertEquals(accepted.sizes.size(), tensors.size());
    int dataBytes = accepted.sizes.values().stream().mapToInt(Integer::intValue).sum();
    byte[] data =
        Arrays.copyOfRange(accepted.file, accepted.file.length - dataBytes, accepted.file.length);
    int offset = 0;
    for (StoredTensor tensor : tensors) {
      int size = accepted.sizes.get(tensor.name());
      assertArrayEquals(
          Arrays.copyOfRange(data, offset, offset + size),
          tensor.data().toArray(ValueLayout.JAVA_BYTE));
      offset += size;
    }
  }

  /** The one case in which Gatun is stricter: which of the two is meant, nobody can say. */
  @Test
  void refusesDuplicateKeys() {
    FormatException e = assertThrows(FormatException.class, () -> parse(file(header(A, A), 8)));
    assertTrue(e.getMessage().contains("Duplicate field 'a'"), e.getMessage());
  }

  @Test
  void theTableIsWhole() {
    int duplicateKeys = 1;
    assertEquals(30, refused().size());
    assertEquals(12, accepted().size() + duplicateKeys);
  }

  @Test
  void refusesNegativeZeroAndNumbersBeyondLong() {
    for (String extent : List.of("-0", "9223372036854775808", "1e1")) {
      byte[] file = file(header("\"a\":" + entry("F32", "[" + extent + "]", "[0,8]")), 8);
      FormatException e = assertThrows(FormatException.class, () -> parse(file));
      assertTrue(e.getMessage().contains("shape is with " + extent), e.getMessage());
    }
  }

  /** The parser's exception has no location then. */
  @Test
  void refusesNumbersOfTooManyDigits() {
    byte[] file = file(header("\"a\":" + entry("F32", "[" + "9".repeat(1001) + "]", "[0,8]")), 8);
    FormatException e = assertThrows(FormatException.class, () -> parse(file));
    assertTrue(e.getMessage().contains("header is not valid JSON: "), e.getMessage());
  }

  @Test
  void refusesOtherEncodingsOfJson() {
    for (var charset : List.of(StandardCharsets.UTF_16LE, StandardCharsets.UTF_16BE)) {
      assertThrows(FormatException.class, () -> parse(file(header(A).getBytes(charset), 8)));
    }
    assertThrows(FormatException.class, () -> parse(file("\ufeff" + header(A), 8)));
  }

  @Test
  void refusesHalfOfASurrogatePairAsName() {
    byte[] file = file(header("\"\\ud800\":" + entry("F32", "[2]", "[0,8]")), 8);
    FormatException e = assertThrows(FormatException.class, () -> parse(file));
    assertTrue(e.getMessage().contains("tensor \"\\ud800\" is named with half"), e.getMessage());
  }

  @Test
  void showsForeignNamesOnOneShortLine() {
    String name = "\\n\\u202e" + "x".repeat(5000);
    byte[] file = file(header("\"" + name + "\":" + entry("F32", "[3]", "[0,8]")), 8);
    FormatException e = assertThrows(FormatException.class, () -> parse(file));
    assertTrue(e.getMessage().contains("tensor \"\\u000a\\u202exxx"), e.getMessage());
    assertTrue(e.getMessage().length() < 500, e.getMessage());
  }

  @Test
  void namesAPointerOfGitLfs() {
    byte[] pointer =
        "version https://git-lfs.github.com/spec/v1\n".getBytes(StandardCharsets.UTF_8);
    FormatException e = assertThrows(FormatException.class, () -> parse(pointer));
    assertTrue(e.getMessage().contains("git lfs pull"), e.getMessage());
  }

  private static String header(String... fields) {
    return "{" + String.join(",", fields) + "}";
  }

  private static String entry(String dtype, String shape, String offsets) {
    return "{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":%s}".formatted(dtype, shape, offsets);
  }
}
