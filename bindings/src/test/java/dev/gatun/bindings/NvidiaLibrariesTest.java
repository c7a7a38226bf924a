package dev.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.bindings.cublaslt.CublasLt;
import dev.gatun.bindings.cublaslt.cublasLtMatmulAlgo_t;
import dev.gatun.bindings.cublaslt.cublasLtMatmulHeuristicResult_t;
import dev.gatun.bindings.cuda.CudaRuntime;
import dev.gatun.bindings.cudnn.Cudnn;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/**
 * NVIDIA's own libraries, where they are installed: they have every function that is bound, and say
 * the versions that their headers do. None of it needs a GPU. Elsewhere counted as skipped.
 */
final class NvidiaLibrariesTest {
  @Test
  void cudaRuntimeHasWhatIsBound() {
    open(CudaLibrary.RUNTIME);
    requireSymbols(CudaRuntime.class);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment version = arena.allocate(ValueLayout.JAVA_INT);
      assertEquals(CudaRuntime.cudaSuccess(), CudaRuntime.cudaRuntimeGetVersion(version));
      int found = version.get(ValueLayout.JAVA_INT, 0);
      assertTrue(12_000 <= found && found < 14_000, () -> "version " + found);
    }
    assertEquals(
        "cudaErrorMemoryAllocation",
        CudaRuntime.cudaGetErrorName(CudaRuntime.cudaErrorMemoryAllocation()).getString(0));
  }

  @Test
  void cublasLtHasWhatIsBound() {
    open(CudaLibrary.CUBLASLT);
    requireSymbols(CublasLt.class);
    long version = CublasLt.cublasLtGetVersion();
    assertTrue(120_000 <= version && version < 140_000, () -> "version " + version);
    assertEquals(
        "CUBLAS_STATUS_SUCCESS",
        CublasLt.cublasLtGetStatusName(CublasLt.CUBLAS_STATUS_SUCCESS()).getString(0));
    // As cublasLt.h has them: uint64_t[8]; and that, size_t, an enum, float, int[4].
    assertEquals(64, cublasLtMatmulAlgo_t.sizeof());
    assertEquals(96, cublasLtMatmulHeuristicResult_t.sizeof());
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment layout = arena.allocate(ValueLayout.ADDRESS);
      assertEquals(
          CublasLt.CUBLAS_STATUS_SUCCESS(),
          CublasLt.cublasLtMatrixLayoutCreate(layout, CublasLt.CUDA_R_16BF(), 128, 64, 128));
      assertEquals(
          CublasLt.CUBLAS_STATUS_SUCCESS(),
          CublasLt.cublasLtMatrixLayoutDestroy(layout.get(ValueLayout.ADDRESS, 0)));
    }
  }

  @Test
  void cudnnHasWhatIsBound() {
    open(CudaLibrary.CUBLASLT); // cuDNN ends the process if it finds none.
    open(CudaLibrary.CUDNN);
    requireSymbols(Cudnn.class);
    long version = Cudnn.cudnnGetVersion();
    assertTrue(90_000 <= version && version < 100_000, () -> "version " + version);
    assertEquals(
        "CUDNN_STATUS_SUCCESS",
        Cudnn.cudnnGetErrorString(Cudnn.CUDNN_STATUS_SUCCESS()).getString(0));
  }

  private static void open(CudaLibrary library) {
    CudaLibraries.Finding finding = CudaLibraries.find(library, null);
    assumeTrue(finding.file() != null, finding.message());
    CudaLibraries.open(library, library.versions(), CudaLibrarySearch.places(null));
  }

  /** jextract makes a class of each function's name. */
  private static void requireSymbols(Class<?> bindings) {
    List<String> functions =
        Arrays.stream(bindings.getDeclaredClasses()).map(Class::getSimpleName).toList();
    assertTrue(functions.size() > 10, functions::toString);
    SymbolLookup lookup = SymbolLookup.loaderLookup();
    assertEquals(
        List.of(), functions.stream().filter(name -> lookup.find(name).isEmpty()).toList());
  }
}
