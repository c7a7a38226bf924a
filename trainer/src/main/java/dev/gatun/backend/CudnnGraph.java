package dev.gatun.backend;

import dev.gatun.bindings.cudnn.Cudnn;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Operations in the order of data flow, and their translation into descriptors. */
record CudnnGraph(List<CudnnNode> nodes) {
  /** cudaMalloc aligns to more; rows of 8 bf16 elements keep to it. */
  private static final int ALIGNMENT_BYTES = 16;

  CudnnGraph {
    nodes = List.copyOf(nodes);
    Map<Long, CudnnTensor> byUid = new HashMap<>();
    for (CudnnNode node : nodes) {
      for (CudnnTensor tensor : node.tensors()) {
        CudnnTensor other = byUid.putIfAbsent(tensor.uid(), tensor);
        if (other != null && !other.equals(tensor)) {
          throw new IllegalArgumentException(
              "cudnn graph: %s and %s share uid %d".formatted(other, tensor, tensor.uid()));
        }
      }
    }
  }

  /** The tensors that a variant pack must have addresses for, in the order of their first use. */
  List<CudnnTensor> packed() {
    Map<Long, CudnnTensor> packed = new LinkedHashMap<>();
    for (CudnnNode node : nodes) {
      for (CudnnTensor tensor : node.tensors()) {
        pack(packed, tensor);
      }
    }
    return List.copyOf(packed.values());
  }

  private static void pack(Map<Long, CudnnTensor> packed, @Nullable CudnnTensor tensor) {
    if (tensor != null && tensor.storage() != CudnnTensor.Storage.VIRTUAL) {
      packed.putIfAbsent(tensor.uid(), tensor);
    }
    if (tensor != null && tensor.raggedOffset() != null) {
      pack(packed, tensor.raggedOffset());
    }
  }

  /**
   * Makes the finished descriptor of this graph.
   *
   * @param owned receives it and all that it refers to, for the caller to close
   */
  CudnnDescriptor describe(List<CudnnDescriptor> owned) {
    return new Description(owned).graph(nodes);
  }

  private static final class Description {
    private final List<CudnnDescriptor> owned;
    private final Map<CudnnTensor, CudnnDescriptor> tensors = new HashMap<>();

    Description(List<CudnnDescriptor> owned) {
      this.owned = owned;
    }

    CudnnDescriptor graph(List<CudnnNode> nodes) {
      List<CudnnDescriptor> operations = new ArrayList<>();
      for (CudnnNode node : nodes) {
        operations.add(operation(node).finish());
      }
      return create(CudnnDescriptorType.OPERATIONGRAPH)
          .set(CudnnAttribute.OPERATIONGRAPH_OPS, operations)
          .finish();
    }

    private CudnnDescriptor operation(CudnnNode node) {
      return switch (node) {
        case CudnnNode.Pointwise pointwise -> pointwise(pointwise);
        case CudnnNode.Matmul matmul -> matmul(matmul);
        case CudnnNode.SumReduction reduction -> reduction(reduction);
        case CudnnNode.Reshape reshape ->
            create(CudnnDescriptorType.OPERATION_RESHAPE)
                .set(CudnnAttribute.OPERATION_RESHAPE_XDESC, tensor(reshape.x()))
                .set(CudnnAttribute.OPERATION_RESHAPE_YDESC, tensor(reshape.y()));
        case CudnnNode.CausalMask mask -> mask(mask);
        case CudnnNode.ForwardAttention attention -> attention(attention);
      };
    }

    private CudnnDescriptor pointwise(CudnnNode.Pointwise node) {
      CudnnDescriptor pointwise =
          create(CudnnDescriptorType.POINTWISE)
              .set(CudnnAttribute.POINTWISE_MODE, node.mode().code())
              .set(CudnnAttribute.POINTWISE_MATH_PREC, node.mode().math().code());
      if (node.axis() >= 0) {
        pointwise.set(CudnnAttribute.POINTWISE_AXIS, node.axis());
      }
      CudnnDescriptor operation =
          create(CudnnDescriptorType.OPERATION_POINTWISE)
              .set(CudnnAttribute.OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise.finish())
              .set(CudnnAttribute.OPERATION_POINTWISE_XDESC, tensor(node.x()))
              .set(CudnnAttribute.OPERATION_POINTWISE_YDESC, tensor(node.y()));
      setOptional(operation, CudnnAttribute.OPERATION_POINTWISE_BDESC, node.b());
      setOptional(operation, CudnnAttribute.OPERATION_POINTWISE_TDESC, node.t());
      return operation;
    }

    private CudnnDescriptor matmul(CudnnNode.Matmul node) {
      CudnnDescriptor operation =
          create(CudnnDescriptorType.OPERATION_MATMUL)
              .set(CudnnAttribute.OPERATION_MATMUL_ADESC, tensor(node.a()))
              .set(CudnnAttribute.OPERATION_MATMUL_BDESC, tensor(node.b()))
              .set(CudnnAttribute.OPERATION_MATMUL_CDESC, tensor(node.c()))
              .set(
                  CudnnAttribute.OPERATION_MATMUL_DESC,
                  create(CudnnDescriptorType.MATMUL)
                      .set(CudnnAttribute.MATMUL_COMP_TYPE, CudnnDataType.FLOAT.code())
                      .finish());
      setOptional(operation, CudnnAttribute.OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, node.m());
      setOptional(operation, CudnnAttribute.OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, node.n());
      setOptional(operation, CudnnAttribute.OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, node.k());
      return operation;
    }

    private CudnnDescriptor reduction(CudnnNode.SumReduction node) {
      CudnnDescriptor sum =
          create(CudnnDescriptorType.REDUCTION)
              .set(CudnnAttribute.REDUCTION_OPERATOR, Cudnn.CUDNN_REDUCE_TENSOR_ADD())
              .set(CudnnAttribute.REDUCTION_COMP_TYPE, CudnnDataType.FLOAT.code())
              .set(CudnnAttribute.REDUCTION_IS_DETERMINISTIC, 0)
              .finish();
      return create(CudnnDescriptorType.OPERATION_REDUCTION)
          .set(CudnnAttribute.OPERATION_REDUCTION_XDESC, tensor(node.x()))
          .set(CudnnAttribute.OPERATION_REDUCTION_YDESC, tensor(node.y()))
          .set(CudnnAttribute.OPERATION_REDUCTION_DESC, sum);
    }

    private CudnnDescriptor mask(CudnnNode.CausalMask node) {
      return create(CudnnDescriptorType.OPERATION_DIAGONAL_BAND_MASK)
          .set(CudnnAttribute.OPERATION_DIAGONAL_BAND_MASK_XDESC, tensor(node.x()))
          .set(CudnnAttribute.OPERATION_DIAGONAL_BAND_MASK_BDESC, tensor(node.b()))
          .set(CudnnAttribute.OPERATION_DIAGONAL_BAND_MASK_YDESC, tensor(node.y()))
          .set(CudnnAttribute.OPERATION_DIAGONAL_BAND_MASK_SEQ_LEN_QDESC, tensor(node.lengthQ()))
          .set(CudnnAttribute.OPERATION_DIAGONAL_BAND_MASK_SEQ_LEN_KVDESC, tensor(node.lengthKv()))
          .set(
              CudnnAttribute.OPERATION_DIAGONAL_BAND_MASK_COMPARISON_MODE,
              CudnnPointwise.CMP_GE.code());
    }

    private CudnnDescriptor attention(CudnnNode.ForwardAttention node) {
      CudnnNode.CausalMask mask = node.mask();
      CudnnDescriptor softmax =
          create(CudnnDescriptorType.OPERATION_SOFTMAX)
              .set(CudnnAttribute.OPERATION_SOFTMAX_XDESC, tensor(node.softmaxX()))
              .set(CudnnAttribute.OPERATION_SOFTMAX_YDESC, tensor(node.softmaxY()))
              .set(CudnnAttribute.OPERATION_SOFTMAX_STATS_DESC, tensor(node.lse()))
              .finish();
      return create(CudnnDescriptorType.OPERATION_SDPA_FWD)
          .set(CudnnAttribute.OPERATION_SDPA_FWD_QDESC, tensor(node.q()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_KDESC, tensor(node.k()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_VDESC, tensor(node.v()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_ODESC, tensor(node.out()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SOFTMAX_DESC, softmax)
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SCALEDESC, tensor(node.scale()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SEQ_LEN_QDESC, tensor(node.lengthQ()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SEQ_LEN_KVDESC, tensor(node.lengthKv()))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SUBGRAPH, graph(List.of(mask)))
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SUBGRAPH_INPUT_UID, mask.x().uid())
          .set(CudnnAttribute.OPERATION_SDPA_FWD_SUBGRAPH_OUTPUT_UID, mask.y().uid());
    }

    private void setOptional(
        CudnnDescriptor operation, CudnnAttribute attribute, @Nullable CudnnTensor tensor) {
      if (tensor != null) {
        operation.set(attribute, tensor(tensor));
      }
    }

    private CudnnDescriptor tensor(CudnnTensor tensor) {
      CudnnDescriptor known = tensors.get(tensor);
      if (known != null) {
        return known;
      }
      CudnnDescriptor descriptor =
          create(CudnnDescriptorType.TENSOR)
              .set(CudnnAttribute.TENSOR_UNIQUE_ID, tensor.uid())
              .set(CudnnAttribute.TENSOR_DATA_TYPE, tensor.dtype().code())
              .set(CudnnAttribute.TENSOR_DIMENSIONS, longs(tensor.dims()))
              .set(CudnnAttribute.TENSOR_STRIDES, longs(tensor.strides()))
              .set(CudnnAttribute.TENSOR_BYTE_ALIGNMENT, ALIGNMENT_BYTES)
              .set(
                  CudnnAttribute.TENSOR_IS_VIRTUAL,
                  tensor.storage() == CudnnTensor.Storage.VIRTUAL ? 1 : 0)
              .set(
                  CudnnAttribute.TENSOR_IS_BY_VALUE,
                  tensor.storage() == CudnnTensor.Storage.HOST_SCALAR ? 1 : 0);
      setOptional(descriptor, CudnnAttribute.TENSOR_RAGGED_OFFSET_DESC, tensor.raggedOffset());
      descriptor.finish();
      tensors.put(tensor, descriptor);
      return descriptor;
    }

    private CudnnDescriptor create(CudnnDescriptorType type) {
      CudnnDescriptor descriptor = CudnnDescriptor.create(type);
      owned.add(descriptor);
      return descriptor;
    }

    private static long[] longs(List<Long> values) {
      return values.stream().mapToLong(Long::longValue).toArray();
    }
  }
}
