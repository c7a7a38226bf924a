package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;

/** What the elements of an attribute are: {@code cudnnBackendAttributeType_t} of cudnn_graph.h. */
enum CudnnType {
  BACKEND_DESCRIPTOR(Cudnn.CUDNN_TYPE_BACKEND_DESCRIPTOR(), 8),
  BOOLEAN(Cudnn.CUDNN_TYPE_BOOLEAN(), 1),
  CHAR(Cudnn.CUDNN_TYPE_CHAR(), 1),
  DATA_TYPE(Cudnn.CUDNN_TYPE_DATA_TYPE(), 4),
  HEUR_MODE(Cudnn.CUDNN_TYPE_HEUR_MODE(), 4),
  INT32(Cudnn.CUDNN_TYPE_INT32(), 4),
  INT64(Cudnn.CUDNN_TYPE_INT64(), 8),
  KNOB_TYPE(Cudnn.CUDNN_TYPE_KNOB_TYPE(), 4),
  POINTWISE_MODE(Cudnn.CUDNN_TYPE_POINTWISE_MODE(), 4),
  REDUCTION_OPERATOR_TYPE(Cudnn.CUDNN_TYPE_REDUCTION_OPERATOR_TYPE(), 4),
  VOID_PTR(Cudnn.CUDNN_TYPE_VOID_PTR(), 8);

  private final int code;
  private final int sizeBytes;

  CudnnType(int code, int sizeBytes) {
    this.code = code;
    this.sizeBytes = sizeBytes;
  }

  int code() {
    return code;
  }

  /** Bytes of one element; C enums are ints. */
  int sizeBytes() {
    return sizeBytes;
  }

  /** The name in cudnn_graph.h. */
  String headerName() {
    return "CUDNN_TYPE_" + name();
  }
}
