package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;

/** Types of tensor elements: {@code cudnnDataType_t} of cudnn_graph.h. */
enum CudnnDataType {
  FLOAT(Cudnn.CUDNN_DATA_FLOAT()),
  BFLOAT16(Cudnn.CUDNN_DATA_BFLOAT16()),
  INT32(Cudnn.CUDNN_DATA_INT32()),
  INT64(Cudnn.CUDNN_DATA_INT64()),
  BOOLEAN(Cudnn.CUDNN_DATA_BOOLEAN());

  private final int code;

  CudnnDataType(int code) {
    this.code = code;
  }

  int code() {
    return code;
  }
}
