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
import dev.gatun.train.OpenDevice;
import java.io.PrintStream;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun selftest}: holds every op of a device to its formula in double. */
final class SelfTestCommand implements Command {
  /** What was asked for. */
  static final class Request {
    final DeviceRequest device = new DeviceRequest();
    Extent extent = Extent.FULL;
    boolean json;
  }

  private static final FlagSet<Request> FLAGS =
      new FlagSet<>(
          DeviceRequest.flags(request -> request.device),
          List.of(
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

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new SelfTestCommand());
    FLAGS.declare(spec, Map.of());
    spec.usageMessage().customSynopsis("gatun selftest [OPTION]...");
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) {
    Request request = FLAGS.apply(parsed, new Request());
    PrintStream out = console.out();
    SelfTestReport report;
    OpenDevice device =
        request.device.device().open(request.device.options(CudaOptions.Graphs.AUTO));
    try (Backend backend = device.backend();
        Backend other = portable(request.device.threads())) {
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
