package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudaOptions;
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
    /** A GPU if one answers, else the CPU. */
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
   * @throws BackendUnavailableException if this build or this machine has none; another device is
   *     never taken instead, but {@code auto} takes the CPU where no GPU answers, and says why
   */
  public OpenDevice open(DeviceOptions options) {
    return switch (type) {
      case CPU -> new OpenDevice(cpu(options), "");
      case CUDA -> new OpenDevice(CudaBackend.create(cuda(options)), "");
      case AUTO -> auto(options);
    };
  }

  private OpenDevice auto(DeviceOptions options) {
    try {
      return new OpenDevice(
          CudaBackend.createOnGpu(cuda(options)), "auto took the GPU, since one answers");
    } catch (BackendUnavailableException e) {
      return new OpenDevice(cpu(options), "auto took the CPU; " + firstLine(e));
    }
  }

  private static Backend cpu(DeviceOptions options) {
    return CpuBackend.create(new CpuOptions(options.threads(), null));
  }

  private CudaOptions cuda(DeviceOptions options) {
    CudaOptions cuda =
        CudaOptions.DEFAULT
            .withDevice(index)
            .withCudaHome(options.cudaHome())
            .withGraphs(options.graphs());
    cuda = options.debugSync() ? cuda.withDebugSync() : cuda;
    return options.tf32() ? cuda.withTf32() : cuda;
  }

  /** What follows are the places that were tried, which {@code gatun doctor} shows. */
  private static String firstLine(BackendUnavailableException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return type == Type.CUDA ? "cuda:" + index : OptionName.of(type);
  }
}
