package dev.gatun.cli;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CudaOptions;
import dev.gatun.train.Device;
import dev.gatun.train.DeviceOptions;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Where a command that writes no model computes, and how. */
final class DeviceRequest {
  private Device device = Device.AUTO;
  private int threads;
  private @Nullable Path cudaHome;
  private boolean tf32;
  private boolean debugSync;

  /** The options, for a command whose request has a part for them. */
  static <R> List<Flag<R>> flags(Function<R, DeviceRequest> part) {
    return List.of(
        Flag.one(
            "device",
            Flag.Group.DEVICE,
            "NAME",
            "Where to compute: auto, cpu, cuda or cuda:N. Default: auto.",
            Flag.named(Device::fromName),
            (request, value) -> part.apply(request).device = value),
        Flag.one(
            "threads",
            Flag.Group.DEVICE,
            "COUNT",
            "CPU threads; 0: all cores. Default: 0.",
            Flag::integer,
            (request, value) -> part.apply(request).threads = value),
        Flag.optional(
            "cuda_home",
            Flag.Group.DEVICE,
            "DIR",
            "Folder to look for NVIDIA's libraries in first.",
            Flag::path,
            (request, value) -> part.apply(request).cudaHome = value),
        Flag.toggle(
            "debug_sync",
            Flag.Group.DEVICE,
            "Wait after every operation on a GPU, so that a failure names its cause.",
            request -> part.apply(request).debugSync = true));
  }

  /** The option to compute less exactly, for a command that may. */
  static <R> Flag<R> tf32(Function<R, DeviceRequest> part) {
    return Flag.toggle(
        "tf32",
        Flag.Group.DEVICE,
        "Let f32 matrix products on a GPU round their operands to TF32.",
        request -> part.apply(request).tf32 = true);
  }

  Device device() {
    return device;
  }

  int threads() {
    return threads;
  }

  DeviceOptions options(CudaOptions.Graphs graphs) {
    return new DeviceOptions(threads, cudaHome, debugSync, tf32, graphs);
  }

  /** The backend; the caller closes it. */
  Backend open() {
    return device.open(options(CudaOptions.Graphs.AUTO)).backend();
  }

  /** The same as words of a command line, as far as they differ from the defaults. */
  List<String> words() {
    List<String> words = new ArrayList<>();
    if (!device.equals(Device.AUTO)) {
      words.addAll(List.of("--device", device.toString()));
    }
    if (threads != 0) {
      words.addAll(List.of("--threads", Integer.toString(threads)));
    }
    if (cudaHome != null) {
      words.addAll(List.of("--cuda_home", cudaHome.toString()));
    }
    if (tf32) {
      words.addAll(List.of("--tf32", "true"));
    }
    if (debugSync) {
      words.addAll(List.of("--debug_sync", "true"));
    }
    return words;
  }
}
