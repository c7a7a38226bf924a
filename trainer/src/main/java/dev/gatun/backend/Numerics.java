package dev.gatun.backend;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * What the bits of a backend's results depend on besides their operands. Two backends of equal
 * identity give equal bits; of others nothing is said.
 *
 * @param identity everything that could change a bit: code, libraries, instruction set, machine
 * @param independentRows a product with at least so many rows gives each row the same bits, however
 *     many others there are and whatever they hold; {@link #DEPENDENT}: no product does
 */
public record Numerics(String identity, int independentRows) {
  /** Every row's bits may depend on all rows of its product. */
  public static final int DEPENDENT = Integer.MAX_VALUE;

  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");

  /** Lines of {@code /proc/cpuinfo} by which oneDNN and the Java virtual machine choose code. */
  private static final List<String> CPU_FIELDS =
      List.of(
          "vendor_id",
          "cpu family",
          "model",
          "model name",
          "stepping",
          "cache size",
          "flags",
          "CPU implementer",
          "CPU part",
          "Features");

  /** Variables that change how oneDNN or cuBLAS computes. */
  private static final List<String> VARIABLES =
      List.of("ONEDNN_", "DNNL_", "CUBLAS", "CUDNN", "NVIDIA_TF32_OVERRIDE");

  /** The machine and the virtual machine, which compute tables of sines and choose code paths. */
  static String machine() {
    StringBuilder text = new StringBuilder();
    text.append(System.getProperty("os.arch")).append('\n');
    text.append(Runtime.version()).append('\n');
    processor().forEach((name, value) -> text.append(name).append(value).append('\n'));
    text.append(
        new TreeMap<>(System.getenv())
            .entrySet().stream()
                .filter(variable -> VARIABLES.stream().anyMatch(variable.getKey()::startsWith))
                .map(variable -> variable.getKey() + '=' + variable.getValue() + '\n')
                .collect(Collectors.joining()));
    return sha256(text.toString().getBytes(StandardCharsets.UTF_8));
  }

  /** Whether the processor has a feature, as {@code /proc/cpuinfo} names it. */
  static boolean processorHas(String flag) {
    return List.of(processor().getOrDefault("flags", "").split(" ")).contains(flag);
  }

  /** {@link #CPU_FIELDS} of the first processor, which stands for all; none where Linux is not. */
  private static Map<String, String> processor() {
    Map<String, String> fields = new TreeMap<>();
    try {
      if (Files.exists(CPU_INFO)) {
        for (String line : Files.readAllLines(CPU_INFO, StandardCharsets.ISO_8859_1)) {
          String[] field = line.split(":", 2);
          if (line.isBlank()) {
            break;
          }
          if (field.length == 2 && CPU_FIELDS.contains(field[0].strip())) {
            fields.put(field[0].strip(), field[1].strip());
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(CPU_INFO + ": " + e, e);
    }
    return fields;
  }

  /** The content of a library: another build of it may round differently. */
  static String library(Path file) {
    try {
      return file.getFileName() + " " + sha256(Files.readAllBytes(file));
    } catch (IOException e) {
      throw new UncheckedIOException(file + ": cannot be read again after it was loaded: " + e, e);
    }
  }

  private static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }
}
