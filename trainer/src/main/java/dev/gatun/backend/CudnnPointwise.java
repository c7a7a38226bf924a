package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;

/** Element-wise operations: {@code cudnnPointwiseMode_t} of cudnn_graph.h. */
enum CudnnPointwise {
  MUL(Cudnn.CUDNN_POINTWISE_MUL(), CudnnDataType.FLOAT),
  SUB(Cudnn.CUDNN_POINTWISE_SUB(), CudnnDataType.FLOAT),
  EXP(Cudnn.CUDNN_POINTWISE_EXP(), CudnnDataType.FLOAT),
  IDENTITY(Cudnn.CUDNN_POINTWISE_IDENTITY(), CudnnDataType.FLOAT),
  BINARY_SELECT(Cudnn.CUDNN_POINTWISE_BINARY_SELECT(), CudnnDataType.FLOAT),
  GEN_INDEX(Cudnn.CUDNN_POINTWISE_GEN_INDEX(), CudnnDataType.INT32),
  CMP_GE(Cudnn.CUDNN_POINTWISE_CMP_GE(), CudnnDataType.BOOLEAN),
  CMP_LT(Cudnn.CUDNN_POINTWISE_CMP_LT(), CudnnDataType.BOOLEAN),
  LOGICAL_AND(Cudnn.CUDNN_POINTWISE_LOGICAL_AND(), CudnnDataType.BOOLEAN);

  private final int code;
  private final CudnnDataType math;

  CudnnPointwise(int code, CudnnDataType math) {
    this.code = code;
    this.math = math;
  }

  int code() {
    return code;
  }

  /** The type it computes in. */
  CudnnDataType math() {
    return math;
  }
}
