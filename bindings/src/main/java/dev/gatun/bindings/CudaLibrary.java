package dev.gatun.bindings;

import java.util.List;

/** NVIDIA's libraries that Gatun calls, and what to do where one is missing. */
public enum CudaLibrary {
  RUNTIME(
      "CUDA runtime",
      "libcudart.so.",
      List.of(13, 12),
      "install the CUDA toolkit, or pip install nvidia-cuda-runtime"),
  CUBLASLT(
      "cuBLASLt",
      "libcublasLt.so.",
      List.of(13, 12),
      "it is part of the CUDA toolkit; or pip install nvidia-cublas"),
  CUDNN("cuDNN", "libcudnn.so.", List.of(9), "install cuDNN 9, or pip install nvidia-cudnn-cu13");

  private final String title;
  private final String fileName;
  private final List<Integer> versions;
  private final String remedy;

  CudaLibrary(String title, String fileName, List<Integer> versions, String remedy) {
    this.title = title;
    this.fileName = fileName;
    this.versions = versions;
    this.remedy = remedy;
  }

  /** Its name for people. */
  public String title() {
    return title;
  }

  /** How to get it. */
  public String remedy() {
    return remedy;
  }

  /** Major versions that Gatun can call, the preferred one first. */
  List<Integer> versions() {
    return versions;
  }

  /** The name of the file of a major version. */
  String fileName(int version) {
    return fileName + version;
  }

  /** What file names begin with. */
  String fileNamePrefix() {
    return fileName;
  }
}
