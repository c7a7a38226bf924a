package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.random.RandomGenerator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A mutated safetensors file is read whole, or refused with one line that names it. */
final class SafetensorsFuzzTest {
  private static final int ROUNDS = 45_000;

  /** One in this many goes through a file, the others through memory. */
  private static final int ON_DISK = 500;

  /** The seed of a failure is in its message. */
  private static final long SEED = Long.getLong("gatun.seed", 20_261_121);

  private static final List<String> NUMBERS =
      List.of(
          "0",
          "-1",
          "1",
          "2147483648",
          "4294967296",
          "9223372036854775807",
          "9223372036854775808",
          "18446744073709551615",
          "-0",
          "1e3",
          "1.5",
          "1e999",
          "0x10",
          "00",
          "9".repeat(1001));

  private static final List<byte[]> UNICODE =
      Stream.of("\u0000", "\ufeff", "\u2028", "\ud83d\ude00", "\\ud800", "\\u0000", "é")
          .map(text -> text.getBytes(StandardCharsets.UTF_8))
          .toList();

  /** Not UTF-8: overlong, a surrogate, beyond U+10FFFF, cut short, never used. */
  private static final List<byte[]> NOT_UNICODE =
      List.of(
          bytes(0xc0, 0xaf),
          bytes(0xed, 0xa0, 0x80),
          bytes(0xf4, 0x90, 0x80, 0x80),
          bytes(0xe2, 0x82),
          bytes(0xfe));

  private final RandomGenerator random = new Random(SEED);
  private final JsonMutator json = new JsonMutator(new Random(SEED + 1));

  @TempDir Path folder;

  @Test
  void mutatedFilesAreReadOrRefused() throws IOException {
    List<byte[]> originals = originals();
    int read = 0;
    int refused = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] file = mutate(originals.get(random.nextInt(originals.size())), originals);
      try {
        if (round % ON_DISK == 0) {
          checkOnDisk(file);
        } else {
          check(file, SafetensorsBytes.parse(file).tensors());
        }
        read++;
      } catch (FormatException e) {
        String message = e.getMessage();
        assertTrue(message.startsWith(e.file() + ": "), message);
        assertEquals(1, message.lines().count(), message);
        assertTrue(message.length() < 1000, message);
        refused++;
      } catch (RuntimeException | Error e) {
        fail(
            "round %d of seed %d (-Dgatun.seed): %s"
                .formatted(round, SEED, Arrays.toString(Arrays.copyOf(file, 400))),
            e);
      }
    }
    System.out.printf("safetensors fuzz: seed %d, %d read, %d refused%n", SEED, read, refused);
    // Both outcomes are common, or the mutations are too weak or too strong to find anything.
    assertTrue(read > ROUNDS / 100, "only " + read + " read");
    assertTrue(refused > ROUNDS / 2, "only " + refused + " refused");
  }

  private void checkOnDisk(byte[] bytes) throws IOException {
    Path path = folder.resolve("mutated.safetensors");
    Files.write(path, bytes);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      check(bytes, List.copyOf(file.tensors()));
      Path copy = folder.resolve("copy.safetensors");
      SafetensorsWriter.write(copy, file.tensors());
      try (SafetensorsFile again = SafetensorsFile.open(copy)) {
        for (StoredTensor tensor : file.tensors()) {
          assertEquals(tensor.toString(), again.tensor(tensor.name()).toString());
          assertEquals(-1, tensor.data().mismatch(again.tensor(tensor.name()).data()));
        }
      }
    }
  }

  /** The tensors are the end of the file, cut into pieces. */
  private static void check(byte[] file, List<StoredTensor> tensors) {
    long dataBytes = tensors.stream().mapToLong(StoredTensor::sizeBytes).sum();
    int position = Math.toIntExact(file.length - dataBytes);
    for (StoredTensor tensor : tensors) {
      byte[] data = tensor.data().toArray(ValueLayout.JAVA_BYTE);
      assertArrayEquals(Arrays.copyOfRange(file, position, position + data.length), data);
      assertEquals(data.length * 8L, tensor.elementCount() * tensor.type().bits());
      position += data.length;
    }
  }

  private byte[] mutate(byte[] original, List<byte[]> originals) throws IOException {
    byte[] file = random.nextInt(3) == 0 ? mutateHeader(original) : original.clone();
    for (int i = random.nextInt(3); i > 0 && file.length > 0; i--) {
      file = mutateBytes(file, originals);
      // With a length that fits, mutations reach what is behind the check of the length.
      if (random.nextBoolean()) {
        fixLength(file);
      }
    }
    return file;
  }

  private byte[] mutateHeader(byte[] file) throws IOException {
    int end = headerEnd(file);
    JsonNode header = Json.MAPPER.readTree(file, Long.BYTES, end - Long.BYTES);
    byte[] mutated = json.mutate(header);
    return concat(
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(mutated.length).array(),
        mutated,
        Arrays.copyOfRange(file, end, file.length));
  }

  private byte[] mutateBytes(byte[] file, List<byte[]> originals) {
    int place = random.nextInt(file.length);
    byte[] before = Arrays.copyOf(file, place);
    byte[] behind = Arrays.copyOfRange(file, place, file.length);
    return switch (random.nextInt(9)) {
      case 0 -> {
        behind[0] ^= (byte) (1 << random.nextInt(8));
        yield concat(before, behind);
      }
      case 1 -> before;
      case 2 -> behind;
      case 3 -> {
        byte[] other = originals.get(random.nextInt(originals.size()));
        yield concat(before, Arrays.copyOfRange(other, random.nextInt(other.length), other.length));
      }
      case 4 -> withLength(file, random.nextInt(-9, 10));
      case 5 -> withLength(file, random.nextLong() >>> random.nextInt(64));
      case 6 -> concat(before, pick(UNICODE), behind);
      case 7 -> concat(before, pick(NOT_UNICODE), behind);
      default -> replaceNumber(before, behind);
    };
  }

  /** Puts an extreme in place of the next number. */
  private byte[] replaceNumber(byte[] before, byte[] behind) {
    int begin = 0;
    while (begin < behind.length && !isDigit(behind[begin])) {
      begin++;
    }
    int end = begin;
    while (end < behind.length && isDigit(behind[end])) {
      end++;
    }
    String number = NUMBERS.get(random.nextInt(NUMBERS.size()));
    return concat(
        before,
        Arrays.copyOf(behind, begin),
        number.getBytes(StandardCharsets.US_ASCII),
        Arrays.copyOfRange(behind, end, behind.length));
  }

  private byte[] pick(List<byte[]> values) {
    return values.get(random.nextInt(values.size()));
  }

  private static byte[] withLength(byte[] file, long change) {
    if (file.length >= Long.BYTES) {
      ByteBuffer buffer = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
      buffer.putLong(0, buffer.getLong(0) + change);
    }
    return file;
  }

  /** Lets the header end at its last brace. */
  private static void fixLength(byte[] file) {
    for (int i = file.length - 1; i >= Long.BYTES; i--) {
      if (file[i] == '}') {
        ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).putLong(0, i + 1 - Long.BYTES);
        return;
      }
    }
  }

  private static int headerEnd(byte[] file) {
    return Math.toIntExact(
        Long.BYTES + ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong(0));
  }

  private static boolean isDigit(byte b) {
    return b >= '0' && b <= '9';
  }

  private static byte[] bytes(int... values) {
    byte[] bytes = new byte[values.length];
    for (int i = 0; i < values.length; i++) {
      bytes[i] = (byte) values[i];
    }
    return bytes;
  }

  private static byte[] concat(byte[]... parts) {
    ByteBuffer whole = ByteBuffer.allocate(Stream.of(parts).mapToInt(part -> part.length).sum());
    Stream.of(parts).forEach(whole::put);
    return whole.array();
  }

  /** Small files with what can go wrong: many tensors, none, all types, empty and odd ones. */
  private List<byte[]> originals() throws IOException {
    Path path = folder.resolve("original.safetensors");
    SafetensorsWriter.write(
        path,
        Stream.of(ElementType.values())
            .map(
                type ->
                    new StoredTensor(
                        "layer." + type,
                        type,
                        new long[] {2, 8},
                        MemorySegment.ofArray(new byte[2 * type.bits()])))
            .toList());
    byte[] types = Files.readAllBytes(path);
    SafetensorsWriter.write(
        path,
        List.of(
            StoredTensor.ofFloats("model.norm.weight", new long[] {3}, 1, 2, 3),
            StoredTensor.ofFloats("empty", new long[] {0, 5}),
            StoredTensor.ofFloats("scalar", new long[0], 7)));
    byte[] few = Files.readAllBytes(path);
    return List.of(types, few, SafetensorsBytes.file("{}", 0));
  }
}
