package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.backend.CudnnAttentionShape.Gradients;
import dev.gatun.bindings.CudaLibraries;
import dev.gatun.bindings.CudaLibrary;
import dev.gatun.memory.ReleasedException;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Plans of cuDNN, compiled for devices that need not be there. Counted as skipped where cuDNN is
 * not installed.
 */
final class CudnnPlanTest {
  @TempDir static Path folder;

  private static boolean loaded;

  /** Before each, so that each is counted. */
  @BeforeEach
  void load() throws IOException, InterruptedException {
    if (loaded) {
      return;
    }
    CudaLibraries.Finding cudnn = CudaLibraries.find(CudaLibrary.CUDNN, null);
    CudaLibraries.Finding cublasLt = CudaLibraries.find(CudaLibrary.CUBLASLT, null);
    assumeTrue(cudnn.file() != null, cudnn.message());
    assumeTrue(cublasLt.file() != null, cublasLt.message());
    if (!isLoadable("libcuda.so.1")) {
      loadDriverStub();
    }
    System.load(Objects.requireNonNull(cublasLt.file()).toString());
    System.load(Objects.requireNonNull(cudnn.file()).toString());
    CudnnLibrary.require();
    loaded = true;
  }

  private static boolean isLoadable(String library) {
    try (Arena arena = Arena.ofConfined()) {
      return SymbolLookup.libraryLookup(library, arena).find("cuInit").isPresent();
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  private static void loadDriverStub() throws IOException, InterruptedException {
    Path source = folder.resolve("libcuda_stub.c");
    Path library = folder.resolve("libcuda.so.1");
    Files.write(source, resource("libcuda_stub.c"));
    Process compiler;
    try {
      compiler =
          new ProcessBuilder(
                  "cc",
                  "-shared",
                  "-fPIC",
                  "-Wl,-soname,libcuda.so.1",
                  "-o",
                  library.toString(),
                  source.toString())
              .inheritIO()
              .start();
    } catch (IOException e) {
      abort("no driver, and no compiler for one that stands in: " + e.getMessage());
      throw e;
    }
    assertEquals(0, compiler.waitFor());
    System.load(library.toString());
  }

  private static byte[] resource(String name) throws IOException {
    try (InputStream in = CudnnPlanTest.class.getResourceAsStream("/cudnn/" + name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    }
  }

  private static CudnnDevice device(int computeCapability) throws IOException {
    return CudnnDevice.ofProperties(resource("sm_%d.json".formatted(computeCapability)));
  }

  @Test
  void versionIsOneThatGatunCanCall() {
    assertTrue(CudnnLibrary.version() >= 92_100, CudnnLibrary.describe());
    assertTrue(CudnnLibrary.describe().matches("cuDNN 9\\.\\d+\\.\\d+"), CudnnLibrary.describe());
  }

  @Test
  void devicesAreKnownByTheirProperties() throws IOException {
    try (CudnnDevice device = device(90)) {
      assertEquals(90, device.computeCapability());
      assertEquals(132, device.multiprocessors());
      assertEquals("sm_90 with 132 multiprocessors", device.toString());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "80, 64, 14, 2, ATOMIC",
    "90, 64, 14, 2, ATOMIC",
    "90, 64, 14, 2, DETERMINISTIC",
    "90, 128, 4, 4, DETERMINISTIC",
    "90, 256, 4, 2, DETERMINISTIC",
    "100, 64, 14, 2, ATOMIC",
    "100, 64, 14, 2, DETERMINISTIC",
    "100, 128, 8, 2, DETERMINISTIC",
  })
  void bothPassesAreCompiled(
      int computeCapability, int headDim, int heads, int kvHeads, Gradients gradients)
      throws IOException {
    long width = (heads + 2L * kvHeads) * headDim;
    CudnnAttentionShape shape =
        CudnnAttentionShape.bucket(6, 500, heads, kvHeads, headDim, width, width, gradients);
    try (CudnnDevice device = device(computeCapability)) {
      try (CudnnPlan forward =
          CudnnPlan.compile(device, CudnnAttentionGraph.forward(shape), null, shape.forwardKey())) {
        // No score is ever stored: 8 segments of 512 x 512 would take megabytes.
        assertTrue(forward.workspaceBytes() < 1 << 20, () -> "" + forward.workspaceBytes());
      }
      try (CudnnPlan backward =
          CudnnPlan.compile(
              device,
              CudnnAttentionGraph.backward(shape),
              CudnnAttentionGraph.backwardEngine(computeCapability, gradients),
              shape.backwardKey())) {
        // On sm_90 a fixed order stores dS in bf16; sm_80 has an accumulator of dQ of its own.
        long scores = 8L * heads * 512 * 512 * 2;
        long accumulator = 8L * heads * 512 * headDim * 4;
        long most =
            (1 << 20)
                + switch (computeCapability) {
                  case 80 -> 2 * accumulator;
                  case 90 -> gradients == Gradients.DETERMINISTIC ? scores : 0;
                  default -> 0;
                };
        assertTrue(
            backward.workspaceBytes() <= most,
            () -> backward.workspaceBytes() + " bytes of workspace, expected at most " + most);
      }
    }
  }

  @Test
  void whatNoEngineDoesSaysSo() throws IOException {
    CudnnAttentionShape shape =
        CudnnAttentionShape.bucket(4, 128, 2, 2, 256, 1536, 1536, Gradients.ATOMIC);
    try (CudnnDevice device = device(80)) {
      CudnnUnsupportedException e =
          assertThrows(
              CudnnUnsupportedException.class,
              () ->
                  CudnnPlan.compile(
                      device, CudnnAttentionGraph.backward(shape), null, shape.backwardKey()));
      assertTrue(e.getMessage().contains("no plan for " + shape.backwardKey()), e.getMessage());
    }
  }

  @Test
  void plansAreKeptAndComeBackTheSame() throws IOException {
    CudnnAttentionShape shape =
        CudnnAttentionShape.bucket(6, 500, 4, 2, 64, 512, 512, Gradients.DETERMINISTIC);
    Path cache = folder.resolve("plans");
    List<String> warnings = new ArrayList<>();
    byte[] first = plan(shape, cache, warnings, true);
    byte[] second = plan(shape, cache, warnings, false);
    assertArrayEquals(first, second);
    assertEquals(List.of(), warnings);
    // A plan that cuDNN refuses is compiled again.
    String key = CudnnPlans.fileKey(shape.forwardKey(), 90, 132, CudnnLibrary.version());
    new CudnnPlanFiles(cache, warnings::add).put(key, "{\"no\": \"plan\"}");
    byte[] third = plan(shape, cache, warnings, true); // Kernels are not compiled alike twice.
    assertEquals(1, warnings.size(), warnings.toString());
    assertArrayEquals(third, plan(shape, cache, warnings, false));
  }

  private static byte[] plan(
      CudnnAttentionShape shape, Path cache, List<String> warnings, boolean compiles)
      throws IOException {
    boolean[] asked = new boolean[1];
    try (CudnnDevice device = device(90);
        CudnnPlans plans =
            new CudnnPlans(
                device, CudnnLibrary.version(), new CudnnPlanFiles(cache, warnings::add))) {
      byte[] json =
          plans
              .get(
                  shape.forwardKey(),
                  () -> {
                    asked[0] = true;
                    return CudnnAttentionGraph.forward(shape);
                  },
                  null)
              .serialize();
      assertEquals(compiles, asked[0]);
      return json;
    }
  }

  /** Three uses after which cuDNN would end the process. */
  @Test
  void misuseThatKillsTheProcessIsRefused() {
    try (CudnnDescriptor config = CudnnDescriptor.create(CudnnDescriptorType.ENGINECFG);
        CudnnDescriptor plan = CudnnDescriptor.create(CudnnDescriptorType.EXECUTION_PLAN)) {
      assertThrows(
          IllegalStateException.class,
          () -> plan.set(CudnnAttribute.EXECUTION_PLAN_ENGINE_CONFIG, config));
    }
    CudnnDescriptor plan = CudnnDescriptor.create(CudnnDescriptorType.EXECUTION_PLAN);
    try (plan) {
      plan.set(
          CudnnAttribute.EXECUTION_PLAN_JSON_REPRESENTATION, "{}".getBytes(StandardCharsets.UTF_8));
      assertThrows(IllegalStateException.class, plan::finish);
    }
    assertThrows(ReleasedException.class, plan::address);
  }

  @Test
  void errorsNameFunctionDescriptorAndCode() {
    try (CudnnDescriptor tensor = CudnnDescriptor.create(CudnnDescriptorType.TENSOR)) {
      NativeException e = assertThrows(NativeException.class, tensor::finish);
      assertTrue(
          e.getMessage()
              .startsWith(
                  "cudnnBackendFinalize(CUDNN_BACKEND_TENSOR_DESCRIPTOR): CUDNN_STATUS_BAD_PARAM"),
          e.getMessage());
    }
  }
}
