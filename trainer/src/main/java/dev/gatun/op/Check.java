package dev.gatun.op;

import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.util.Arrays;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Shape and type checks of one op. Optional tensors pass when they are absent. */
final class Check {
  private final String op;

  /** Checks that begin their messages with {@code op}. */
  Check(String op) {
    this.op = op;
  }

  /** A dimension as a message names it. */
  record Dim(String word, long size) {
    @Override
    public String toString() {
      return word + "=" + size;
    }
  }

  static Dim dim(String word, long size) {
    return new Dim(word, size);
  }

  /** Requires type and shape, and rows without gaps. */
  void tensor(String role, @Nullable Tensor tensor, DType dtype, Dim... shape) {
    strided(role, tensor, dtype, shape);
    contiguous(role, tensor);
  }

  /** Requires type and shape; rows may have gaps between them. */
  void strided(String role, @Nullable Tensor tensor, DType dtype, Dim... shape) {
    if (tensor == null) {
      return;
    }
    boolean fits = tensor.dtype() == dtype && tensor.rank() == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = tensor.dim(i) == shape[i].size();
    }
    if (!fits) {
      throw mismatch(role, tensor, Arrays.toString(shape) + " " + dtype);
    }
  }

  /** Requires the type and shape of another tensor, and rows without gaps. */
  void like(String role, @Nullable Tensor tensor, String modelRole, Tensor model) {
    stridedLike(role, tensor, modelRole, model);
    contiguous(role, tensor);
  }

  /** Requires the type and shape of another tensor; rows may have gaps between them. */
  void stridedLike(String role, @Nullable Tensor tensor, String modelRole, Tensor model) {
    if (tensor == null) {
      return;
    }
    if (tensor.dtype() != model.dtype() || !tensor.hasShape(model.shape())) {
      throw mismatch(
          role, tensor, Arrays.toString(model.shape()) + " " + model.dtype() + " as " + modelRole);
    }
  }

  /** Requires a rank; {@code words} name the dimensions. */
  void rank(String role, Tensor tensor, String... words) {
    if (tensor.rank() != words.length) {
      throw mismatch(role, tensor, Arrays.toString(words) + " " + tensor.dtype());
    }
  }

  /** Requires one of some types. */
  void type(String role, Tensor tensor, DType... dtypes) {
    for (DType dtype : dtypes) {
      if (tensor.dtype() == dtype) {
        return;
      }
    }
    throw mismatch(
        role,
        tensor,
        Arrays.stream(dtypes).map(DType::toString).collect(Collectors.joining(" or ")));
  }

  /** Requires f32 or bf16: the types that activations and weights are stored in. */
  void storage(String role, Tensor tensor) {
    type(role, tensor, DType.F32, DType.BF16);
  }

  /** Requires rows without gaps. */
  void contiguous(String role, @Nullable Tensor tensor) {
    if (tensor != null && !tensor.isContiguous()) {
      throw new IllegalArgumentException(
          "%s: %s has %d elements between rows, expected contiguous rows"
              .formatted(op, describe(role, tensor), tensor.rowStride()));
    }
  }

  /** Requires that two optional tensors are both there or both absent. */
  void together(String role, @Nullable Tensor tensor, String otherRole, @Nullable Tensor other) {
    if ((tensor == null) != (other == null)) {
      throw new IllegalArgumentException(
          "%s: %s without %s, expected both or neither"
              .formatted(op, tensor == null ? otherRole : role, tensor == null ? role : otherRole));
    }
  }

  /** Requires what only its caller can word. */
  void that(boolean condition, String message, Object... arguments) {
    if (!condition) {
      throw new IllegalArgumentException(op + ": " + message.formatted(arguments));
    }
  }

  private IllegalArgumentException mismatch(String role, Tensor tensor, String expected) {
    return new IllegalArgumentException(
        "%s: %s, expected %s".formatted(op, describe(role, tensor), expected));
  }

  private static String describe(String role, Tensor tensor) {
    return role + " is " + Arrays.toString(tensor.shape()) + " " + tensor.dtype();
  }
}
