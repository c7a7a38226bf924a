package dev.gatun.cli;

import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.CpuTopology;
import dev.gatun.backend.CudaBackend;
import dev.gatun.backend.CudaDevice;
import dev.gatun.hf.Tokenizer;
import dev.gatun.report.Numbers;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/** {@code gatun doctor}: shows what this machine and this build can do. */
final class DoctorCommand implements Command {
  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");
  private static final Path MEMORY_INFO = Path.of("/proc/meminfo");
  private static final Path NVIDIA_DRIVER = Path.of("/proc/driver/nvidia/version");

  /** Flags of {@code /proc/cpuinfo} that decide which kernels are used. */
  private static final List<String> CPU_FLAGS =
      List.of("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve");

  static CommandSpec spec() {
    CommandSpec spec = CommandSpec.wrapWithoutInspection(new DoctorCommand());
    spec.addOption(
        OptionSpec.builder("--output_dir")
            .paramLabel("DIR")
            .type(String.class)
            .description("Also show the free space where models would be written.")
            .build());
    spec.addOption(
        OptionSpec.builder("--cuda_home")
            .paramLabel("DIR")
            .type(String.class)
            .description("Folder to look for NVIDIA's libraries in first.")
            .build());
    return spec;
  }

  @Override
  public ExitCode run(ParseResult parsed, Console console) throws IOException {
    PrintStream out = console.out();
    Runtime runtime = Runtime.getRuntime();
    row(out, "gatun", Main.version());
    row(
        out,
        "java",
        "%s (%s), %s".formatted(Runtime.version(), property("java.vendor"), property("java.home")));
    row(
        out,
        "system",
        "%s %s, %s".formatted(property("os.name"), property("os.version"), property("os.arch")));
    Map<String, String> cpu = fields(CPU_INFO);
    row(
        out,
        "cpu",
        "%s, time of %d hardware threads for this process"
            .formatted(
                cpu.getOrDefault("model name", "model not known"), runtime.availableProcessors()));
    List<String> features =
        List.of(cpu.getOrDefault("flags", cpu.getOrDefault("Features", "")).split(" "));
    row(
        out,
        "instructions",
        String.join(" ", CPU_FLAGS.stream().filter(features::contains).toList()));
    CpuTopology topology = CpuTopology.ofThisProcess();
    row(out, "topology", counts(topology));
    row(out, "caches", caches(topology));
    Map<String, String> memory = fields(MEMORY_INFO);
    row(
        out,
        "memory",
        "%s, %s available; Java heap up to %s"
            .formatted(
                kibibytes(memory.get("MemTotal")),
                kibibytes(memory.get("MemAvailable")),
                Numbers.bytes(runtime.maxMemory())));
    row(out, "tokenizer", "Hugging Face tokenizers, " + Tokenizer.libraryFile());
    String cudaHome = parsed.matchedOptionValue("--cuda_home", (String) null);
    String outputDir = parsed.matchedOptionValue("--output_dir", (String) null);
    if (outputDir != null) {
      row(out, "output", freeSpace(Flag.path("output_dir", outputDir)));
    }
    gpu(out, cudaHome == null ? null : Flag.path("cuda_home", cudaHome));
    try (CpuBackend backend = CpuBackend.create(CpuOptions.DEFAULT)) {
      row(out, "memory pages", backend.memoryPlacement());
      row(out, "backend", backend.description());
    } catch (BackendUnavailableException e) {
      row(out, "backend", "cpu: not available");
      throw e;
    }
    return ExitCode.OK;
  }

  private static void row(PrintStream out, String name, String value) {
    out.printf("%-13s %s%n", name, value.replace("\n", "\n" + " ".repeat(14)));
  }

  private static String property(String name) {
    return System.getProperty(name, "?");
  }

  /** {@code name : value} lines, the first of each name. */
  private static Map<String, String> fields(Path file) throws IOException {
    Map<String, String> fields = new LinkedHashMap<>();
    if (Files.isReadable(file)) {
      for (String line : Files.readAllLines(file)) {
        int colon = line.indexOf(':');
        if (colon > 0) {
          fields.putIfAbsent(line.substring(0, colon).strip(), line.substring(colon + 1).strip());
        }
      }
    }
    return fields;
  }

  private static String kibibytes(@Nullable String text) {
    return text == null
        ? "size not known"
        : Numbers.bytes(Long.parseLong(text.replace("kB", "").strip()) * 1024);
  }

  /** {@code 2 packages, 2 NUMA nodes, 32 cores, 64 hardware threads}. */
  static String counts(CpuTopology topology) {
    return String.join(
        ", ",
        count(topology.packages(), "package"),
        count(topology.numaNodes().size(), "NUMA node"),
        count(topology.cores(), "core"),
        count(topology.hardwareThreads(), "hardware thread"));
  }

  private static String count(int count, String noun) {
    return count + " " + noun + (count == 1 ? "" : "s");
  }

  /** {@code L1 32 x 32 KiB, L2 32 x 1 MiB, L3 4 x 32 MiB}. */
  static String caches(CpuTopology topology) {
    return topology.caches().isEmpty()
        ? "not known"
        : String.join(
            ", ",
            topology.caches().stream()
                .map(
                    cache ->
                        "L%d %d x %s"
                            .formatted(
                                cache.level(), cache.count(), Numbers.bytes(cache.sizeBytes())))
                .toList());
  }

  private static String freeSpace(Path folder) throws IOException {
    Path existing = folder.toAbsolutePath();
    while (!Files.exists(existing) && existing.getParent() != null) {
      existing = existing.getParent();
    }
    return "%s: %s free"
        .formatted(existing, Numbers.bytes(Files.getFileStore(existing).getUsableSpace()));
  }

  /** What the CUDA backend has and lacks here. */
  private static void gpu(PrintStream out, @Nullable Path cudaHome) throws IOException {
    row(
        out,
        "nvidia driver",
        Files.isReadable(NVIDIA_DRIVER)
            ? Files.readAllLines(NVIDIA_DRIVER).getFirst().strip()
            : "none (" + NVIDIA_DRIVER + " is not there)");
    for (CudaBackend.Library library : CudaBackend.libraries(cudaHome)) {
      row(out, library.title(), library.text());
    }
    try {
      row(out, "cuda", CudaBackend.versions(cudaHome));
      for (CudaDevice device : CudaBackend.devices(cudaHome)) {
        row(
            out,
            "gpu",
            "cuda:%d: %s, sm_%d, %s, %s free"
                .formatted(
                    device.index(),
                    device.name(),
                    device.computeCapability(),
                    Numbers.bytes(device.totalBytes()),
                    Numbers.bytes(device.freeBytes())));
      }
    } catch (BackendUnavailableException e) {
      row(out, "gpu", "none: " + String.valueOf(e.getMessage()).lines().findFirst().orElse(""));
    }
  }
}
