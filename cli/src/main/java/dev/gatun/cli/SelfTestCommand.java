package dev.gatun.cli;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.CudaOptions;
import dev.gatun.report.Numbers;
import dev.gatun.selftest.Extent;
import dev.gatun.selftest.SelfTest;
import dev.gatun.selftest.SelfTestReport;
import dev.gatun.selftest.SelfTestResult;
import dev.gatun.train.Device;
import dev.gatun.train.DeviceOptions;
import dev.gatun.train.OpenDevice;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun selftest}: holds every op of a device to its formula in double. */
final class SelfTestCommand implements Command {
  /** What was asked for. */
  static final class Request {
    Device device = Device.AUTO;
    int threads;
    @Nullable Path cudaHome;
    boolean debugSync;
    Extent extent = Extent.FULL;
    boolean json;

    DeviceOptions options() {
      return new DeviceOptions(threads, cudaHome, debugSync, false, CudaOptions.Graphs.AUTO);
    }
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          List.of(
              Flag.one(
                  "device",
                  Flag.Group.DEVICE,
                  "NAME",
                  "What to test: auto, cpu, cuda or cuda:N.",
                  Flag.named(Device::fromName),
                  (request, value) -> request.device = value),
              Flag.one(
                  "threads",
                  Flag.Group.DEVICE,
                  "COUNT",
                  "CPU threads; 0: all cores.",
                  Flag::integer,
                  (request, value) -> request.threads = value),
              Flag.optional(
                  "cuda_home",
                  Flag.Group.DEVICE,
                  "DIR",
                  "Folder to look for NVIDIA's libraries in first.",
                  Flag::path,
                  (request, value) -> request.cudaHome = value),
              Flag.toggle(
                  "debug_sync",
                  Flag.Group.DEVICE,
                  "Wait after every operation on a GPU, so that a failure names its cause.",
                  request -> request.debugSync = true),
              Flag.toggle(
                  "quick",
                  Flag.Group.RUN,
                  "Try a few small sizes of each op only.",
                  request -> request.extent = Extent.QUICK),
              Flag.toggle(
                  "json",
                  Flag.Group.RUN,
                  "Print one JSON object instead of the table.",
                  request -> request.json = true)));

  private static final Map<String, String> DEFAULTS = Map.of("device", "auto", "threads", "0");

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new SelfTestCommand());
    FLAGS.declare(spec, DEFAULTS);
    spec.usageMessage().customSynopsis("gatun selftest [OPTION]...");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    PrintStream out = console.out();
    SelfTestReport report;
    OpenDevice device = request.device.open(request.options());
    try (Backend backend = device.backend();
        Backend other = portable(request.threads)) {
      if (!request.json) {
        device.notes().forEach(out::println);
        out.println("training is compared with: " + other.description());
        out.printf("%n%-22s %-5s %6s %16s  %s%n", "op", "dtype", "forms", "error/tolerance", "");
      }
      report =
          SelfTest.run(
              backend, other, request.extent, request.json ? _ -> {} : result -> row(out, result));
    }
    out.println(request.json ? report.toJson() : summary(report));
    return report.passed() ? ExitCode.OK : ExitCode.TRAINING;
  }

  /** The CPU's plainest kernels: where the CPU itself is tested, still others than those. */
  private static Backend portable(int threads) {
    String isa = System.getProperty("os.arch").equals("amd64") ? "v2" : "generic";
    return CpuBackend.create(new CpuOptions(threads, isa));
  }

  private static void row(PrintStream out, SelfTestResult result) {
    out.printf(
        "%-22s %-5s %6d %16s  %s%n",
        result.name(),
        result.dtype(),
        result.forms(),
        Numbers.significant(result.error(), 3),
        result.passed() ? "pass" : "FAIL");
    for (String finding : result.findings()) {
      out.println("    " + finding);
    }
  }

  private static String summary(SelfTestReport report) {
    List<String> failed =
        report.results().stream()
            .filter(result -> !result.passed())
            .map(result -> result.name() + " " + result.dtype())
            .toList();
    String verdict =
        failed.isEmpty()
            ? "all pass"
            : "%d FAIL: %s".formatted(failed.size(), String.join(", ", failed));
    return "%n%d results, %d forms, %s s: %s"
        .formatted(
            report.results().size(),
            report.forms(),
            Numbers.significant(report.seconds(), 3),
            verdict);
  }
}
