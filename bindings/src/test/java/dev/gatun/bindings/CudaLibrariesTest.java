package dev.gatun.bindings;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bindings.CudaLibrarySearch.Place;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CudaLibrariesTest {
  @TempDir private Path root;

  @Test
  void everyPlaceInItsOrder() throws IOException {
    Path named = folder("named/lib64");
    Path home = folder("cuda-home/targets/x86_64-linux/lib");
    Path path = folder("cuda-path/lib");
    Path dnn = folder("dnn/lib");
    Path ld = root.resolve("ld");
    Path standard = folder("usr/local/cuda/lib64");
    Path system = folder("usr/lib/x86_64-linux-gnu");
    Path conda = folder("conda/lib");
    Path venv = folder("venv/lib/python3.13/site-packages/nvidia/cu13/lib");
    Path condaPackage = folder("conda/lib/python3.12/site-packages/nvidia/cudnn/lib");
    Path packages = folder("packages/nvidia/cublas/lib");
    Path user = folder("user/.local/lib/python3.11/site-packages/nvidia/cublas/lib");
    Path debian = folder("usr/local/lib/python3.11/dist-packages/nvidia/cudnn/lib");
    List<Place> places =
        CudaLibrarySearch.places(
            root.resolve("named"),
            Map.of(
                "CUDA_HOME", root.resolve("cuda-home").toString(),
                "CUDA_PATH", root.resolve("cuda-path").toString(),
                "CUDNN_HOME", root.resolve("dnn").toString(),
                "LD_LIBRARY_PATH", ":" + ld + ":" + named,
                "CONDA_PREFIX", root.resolve("conda").toString(),
                "VIRTUAL_ENV", root.resolve("venv").toString(),
                "PYTHONPATH", root.resolve("packages").toString(),
                "HOME", root.resolve("user").toString()),
            root);
    assertEquals(
        List.of(
            new Place(named, "--cuda_home"),
            new Place(home, "CUDA_HOME"),
            new Place(path, "CUDA_PATH"),
            new Place(dnn, "CUDNN_HOME"),
            new Place(ld, "LD_LIBRARY_PATH"),
            new Place(standard, "the toolkit's default"),
            new Place(system, "the system"),
            new Place(conda, "CONDA_PREFIX"),
            new Place(venv, "pip, VIRTUAL_ENV"),
            new Place(condaPackage, "pip, CONDA_PREFIX"),
            new Place(packages, "pip, PYTHONPATH"),
            new Place(user, "pip, the user's"),
            new Place(debian, "pip, the system's")),
        places);
  }

  @Test
  void aHomeThatTheUserNamedIsShownThoughItHasNoLibraries() {
    assertEquals(
        List.of(
            new Place(root.resolve("nowhere/lib64"), "--cuda_home"),
            new Place(root.resolve("usr/local/cuda/lib64"), "the toolkit's default")),
        CudaLibrarySearch.places(root.resolve("nowhere"), Map.of("CUDA_HOME", " "), root));
  }

  @Test
  void aMissShowsThePlacesTheLoadersWordsAndTheRemedy() throws IOException {
    Path empty = folder("empty/lib64");
    Path torn = folder("torn/lib64");
    Files.writeString(torn.resolve("libcudnn.so.9"), "not a library");
    NativeLibraryException e =
        assertThrows(
            NativeLibraryException.class,
            () ->
                CudaLibraries.open(
                    CudaLibrary.CUDNN,
                    List.of(9),
                    List.of(new Place(empty, "CUDA_HOME"), new Place(torn, "CUDNN_HOME"))));
    List<String> lines = e.getMessage().lines().toList();
    assertEquals("cuDNN could not be loaded; looked for libcudnn.so.9 in", lines.get(0));
    assertEquals("  " + empty + " (CUDA_HOME): not there", lines.get(1));
    String loader = lines.get(2);
    assertTrue(loader.startsWith("  " + torn.resolve("libcudnn.so.9") + " (CUDNN_HOME): "), loader);
    assertEquals(
        "Remedy: install cuDNN 9, or pip install nvidia-cudnn-cu13; or name the toolkit's folder"
            + " with --cuda_home",
        lines.getLast());
  }

  @Test
  void kernelsDecideWhichRuntimeIsTaken() throws IOException {
    Path kernels = root.resolve("libgatun_cuda.so");
    Files.writeString(kernels, "\0libc.so.6\0libcudart.so.12\0libstdc++.so.6\0");
    assertEquals(List.of(12), CudaLibraries.runtimeVersions(kernels));
    Files.writeString(kernels, "\0libcudart.so.13\0");
    assertEquals(List.of(13), CudaLibraries.runtimeVersions(kernels));
    Files.writeString(kernels, "\0libc.so.6\0");
    assertEquals(List.of(13, 12), CudaLibraries.runtimeVersions(kernels));
    Files.writeString(kernels, "\0libcudart.so.11.0\0");
    assertThrows(NativeLibraryException.class, () -> CudaLibraries.runtimeVersions(kernels));
  }

  @Test
  void findingNamesTheFileOrThePlaces() throws IOException {
    Path file = Files.createFile(folder("toolkit/lib").resolve("libcublasLt.so.12"));
    CudaLibraries.Finding finding =
        CudaLibraries.find(CudaLibrary.CUBLASLT, root.resolve("toolkit"));
    assertEquals(file, finding.file());
    assertEquals(file + " (--cuda_home)", finding.message());
  }

  private Path folder(String name) throws IOException {
    return Files.createDirectories(root.resolve(name)).toAbsolutePath().normalize();
  }
}
