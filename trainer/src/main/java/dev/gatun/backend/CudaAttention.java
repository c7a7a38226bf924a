package dev.gatun.backend;

import dev.gatun.backend.CudnnAttentionShape.Gradients;
import dev.gatun.bindings.CudaLibraries;
import dev.gatun.bindings.NativeLibraryException;
import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Attention on a GPU: by Gatun's kernels until a run is planned, then by the provider that was
 * asked for, or, if that was left open, by the faster one. One provider computes a whole run:
 * policy and reference, every pack.
 */
final class CudaAttention implements AttentionProvider, AutoCloseable {
  private final Backend backend;
  private final MemorySegment stream;
  private final CudaDevice device;
  private final CudaOptions options;
  private final Consumer<String> warnings;
  private final AttentionProvider kernels;
  private @Nullable CudnnDevice cudnnDevice;
  private @Nullable CudnnPlans plans;
  private @Nullable CudnnAttention cudnn;

  /**
   * @param backend whose attention this is
   * @param stream of all its work
   * @param warnings takes lines for the user
   */
  CudaAttention(
      Backend backend,
      MemorySegment stream,
      CudaDevice device,
      CudaOptions options,
      Kernels kernels,
      Consumer<String> warnings) {
    this.backend = backend;
    this.stream = stream;
    this.device = device;
    this.options = options;
    this.warnings = warnings;
    this.kernels = new KernelAttention(kernels, KernelAttention.LaunchSize.REPEATING);
  }

  /** See {@link Backend#planAttention}. */
  String plan(AttentionImplementation implementation, AttentionRun run) {
    closeCudnn();
    return switch (implementation) {
      case GATUN -> kernels.name();
      case CUDNN -> planCudnn(run);
      case AUTO -> planFaster(run);
    };
  }

  private String planCudnn(AttentionRun run) {
    try {
      CudaLibraries.loadCudnn(options.cudaHome());
    } catch (NativeLibraryException e) {
      throw new CudnnUnsupportedException(String.valueOf(e.getMessage()));
    }
    String reason =
        CudnnAttention.unsupported(run, device.computeCapability(), Gradients.DETERMINISTIC);
    Gradients gradients = reason == null ? Gradients.DETERMINISTIC : Gradients.ATOMIC;
    cudnn = open(run, gradients);
    return gradients == Gradients.DETERMINISTIC
        ? "cudnn, %s".formatted(CudnnLibrary.describe())
        : "cudnn, %s; gradients differ from run to run in their last bits: %s"
            .formatted(CudnnLibrary.describe(), reason);
  }

  private String planFaster(AttentionRun run) {
    String reason =
        CudnnAttention.unsupported(run, device.computeCapability(), Gradients.DETERMINISTIC);
    if (reason != null) {
      return "%s (not cuDNN: %s)".formatted(kernels.name(), reason);
    }
    try {
      CudaLibraries.loadCudnn(options.cudaHome());
    } catch (NativeLibraryException e) {
      return "%s (cuDNN is not installed)".formatted(kernels.name());
    }
    CudnnAttention candidate;
    try {
      candidate = open(run, Gradients.DETERMINISTIC);
    } catch (CudnnUnsupportedException e) {
      return "%s (%s)".formatted(kernels.name(), e.getMessage());
    }
    try {
      AttentionChoice choice = choose(run, candidate);
      if (choice.isCudnn()) {
        cudnn = candidate;
      }
      return "%s (%s for forward and backward of %d tokens in %d segments)"
          .formatted(
              choice.isCudnn() ? "cudnn, " + CudnnLibrary.describe() : kernels.name(),
              choice,
              run.tokens(),
              run.segments());
    } finally {
      if (cudnn != candidate) {
        candidate.close();
      }
    }
  }

  /** As it was measured before, for a run of this size on this device, or measured now. */
  private AttentionChoice choose(AttentionRun run, CudnnAttention candidate) {
    CudnnPlanFiles files = files();
    String key =
        CudnnPlans.fileKey(
            choiceKey(run),
            device.computeCapability(),
            device.multiprocessors(),
            CudnnLibrary.version());
    String text = files.get(key);
    AttentionChoice choice = text == null ? null : AttentionChoice.parse(text);
    if (choice == null) {
      try (AttentionTiming timing = new AttentionTiming(backend, stream, run)) {
        choice = new AttentionChoice(timing.milliseconds(candidate), timing.milliseconds(kernels));
      }
      files.put(key, choice.toString());
    }
    return choice;
  }

  /** Packs of up to twice the tokens share a choice. */
  static String choiceKey(AttentionRun run) {
    return "attention-choice-%s-t%d-gatun%d"
        .formatted(
            CudnnAttention.forwardShape(run, Gradients.DETERMINISTIC)
                .backwardKey()
                .substring("attention-backward-".length()),
            Integer.highestOneBit(run.tokens()),
            GatunNative.GATUN_ABI_VERSION());
  }

  private CudnnAttention open(AttentionRun run, Gradients gradients) {
    CudnnLibrary.require();
    if (plans == null) {
      CudnnDevice opened = CudnnDevice.ofIndex(device.index());
      cudnnDevice = opened;
      plans = new CudnnPlans(opened, CudnnLibrary.version(), files());
    }
    return CudnnAttention.create(
        backend, stream, plans, device.computeCapability(), run, gradients);
  }

  private CudnnPlanFiles files() {
    return new CudnnPlanFiles(
        options.cacheFolder() == null ? null : options.cacheFolder().resolve("cudnn"), warnings);
  }

  private AttentionProvider provider() {
    return cudnn == null ? kernels : cudnn;
  }

  @Override
  public String name() {
    return provider().name();
  }

  @Override
  public void prepare(int[] hostSegments) {
    provider().prepare(hostSegments);
  }

  @Override
  public long launch(int[] hostSegments) {
    return provider().launch(hostSegments);
  }

  @Override
  public void forward(
      Tensor out,
      @Nullable Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window) {
    provider().forward(out, lse, q, k, v, segments, hostSegments, scale, softcap, window);
  }

  @Override
  public void backward(
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dOut,
      Tensor out,
      Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      float scale,
      float softcap,
      int window) {
    provider()
        .backward(
            dQ, dK, dV, dOut, out, lse, q, k, v, segments, hostSegments, scale, softcap, window);
  }

  private void closeCudnn() {
    if (cudnn != null) {
      cudnn.close();
      cudnn = null;
    }
  }

  @Override
  public void close() {
    closeCudnn();
    if (plans != null) {
      plans.close();
      plans = null;
    }
    if (cudnnDevice != null) {
      cudnnDevice.close();
      cudnnDevice = null;
    }
  }
}
