package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Where a run computes.
 *
 * @param type the kind of device
 * @param index which of them; 0 unless {@code type} is {@link Type#CUDA}
 */
public record Device(Type type, int index) {
  /** Kinds of devices. */
  public enum Type {
    /** The fastest device that this build has a backend for. */
    AUTO,
    CPU,
    CUDA
  }

  public static final Device AUTO = new Device(Type.AUTO, 0);
  public static final Device CPU = new Device(Type.CPU, 0);

  private static final Pattern CUDA = Pattern.compile("cuda(?::(\\d{1,4}))?");

  public Device {
    Check.that("device", index >= 0, index, "an index of 0 or above");
    Check.that(
        "device", index == 0 || type == Type.CUDA, type + ":" + index, "an index only with cuda");
  }

  /** Reads {@code auto}, {@code cpu}, {@code cuda} or {@code cuda:N}. */
  public static Device fromName(String name) {
    if (name.equals("auto")) {
      return AUTO;
    }
    if (name.equals("cpu")) {
      return CPU;
    }
    Matcher cuda = CUDA.matcher(name);
    if (cuda.matches()) {
      return new Device(Type.CUDA, cuda.group(1) == null ? 0 : Integer.parseInt(cuda.group(1)));
    }
    throw new ConfigException(
        "device", "got %s, expected auto, cpu, cuda or cuda:N".formatted(name));
  }

  /**
   * The backend of this device; the caller closes it.
   *
   * @param threads CPU threads; 0: all cores
   * @throws BackendUnavailableException if this build or this machine has none; another device is
   *     never taken instead
   */
  public Backend open(int threads) {
    return switch (type) {
      case AUTO, CPU -> CpuBackend.create(new CpuOptions(threads, null));
      case CUDA ->
          throw new BackendUnavailableException(
              "device %s: this build has no CUDA backend; use device cpu or auto".formatted(this));
    };
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return type == Type.CUDA ? "cuda:" + index : OptionName.of(type);
  }
}
