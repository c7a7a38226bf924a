package dev.gatun.backend;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A tensor of a cuDNN graph: four dimensions, and how it comes by its elements.
 *
 * @param name for people
 * @param uid unlike that of every other tensor of the graph; variant packs know it by this number
 * @param dtype of its elements
 * @param dims sizes
 * @param strides elements between neighbours, per dimension
 * @param storage where the elements are
 * @param raggedOffset where each entry of dimension 0 begins, in elements: a tensor {@code [dims[0]
 *     + 1, 1, 1, 1]}; null: at multiples of {@code strides[0]}
 */
record CudnnTensor(
    String name,
    long uid,
    CudnnDataType dtype,
    List<Long> dims,
    List<Long> strides,
    Storage storage,
    @Nullable CudnnTensor raggedOffset) {

  /** Where the elements are. */
  enum Storage {
    /** In device memory; the variant pack has the address. */
    DEVICE,
    /** One element in host memory; the variant pack has the address. */
    HOST_SCALAR,
    /** Nowhere: an intermediate of fused operations. */
    VIRTUAL
  }

  CudnnTensor {
    dims = List.copyOf(dims);
    strides = List.copyOf(strides);
    if (dims.size() != 4 || strides.size() != 4) {
      throw new IllegalArgumentException(
          "cudnn tensor %s: dims %s and strides %s, expected four each"
              .formatted(name, dims, strides));
    }
    if (dims.stream().anyMatch(dim -> dim < 1)) {
      throw new IllegalArgumentException(
          "cudnn tensor %s: dims %s, expected all >= 1".formatted(name, dims));
    }
  }

  /** The same memory with dimensions 2 and 3 exchanged. */
  CudnnTensor transposed() {
    return new CudnnTensor(
        name,
        uid,
        dtype,
        List.of(dims.get(0), dims.get(1), dims.get(3), dims.get(2)),
        List.of(strides.get(0), strides.get(1), strides.get(3), strides.get(2)),
        storage,
        raggedOffset);
  }
}
