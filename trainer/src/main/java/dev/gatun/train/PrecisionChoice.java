package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuBackend;
import dev.gatun.backend.CudaBackend;
import dev.gatun.tensor.DType;

/** The option {@code dtype}: a {@link Precision}, or the one that the device is fastest with. */
public enum PrecisionChoice {
  /** bfloat16 where the device multiplies it in hardware, else float32. */
  AUTO,
  FLOAT32,
  BFLOAT16;

  /** The constant of this name; see {@link #toString}. */
  public static PrecisionChoice fromName(String name) {
    return OptionName.parse(PrecisionChoice.class, "dtype", name);
  }

  /**
   * This choice and that of the option {@code bf16}, which wins where it says bfloat16, and where
   * this one is open.
   *
   * @param bf16 {@link #AUTO} where the option says nothing
   */
  public PrecisionChoice with(PrecisionChoice bf16) {
    return bf16 == BFLOAT16 || this == AUTO ? bf16 : this;
  }

  /** What it comes to on a device. */
  public ResolvedPrecision on(Backend backend) {
    String device =
        switch (backend) {
          case CpuBackend _ -> "this CPU";
          case CudaBackend _ -> "this GPU";
        };
    return on(backend.fastestOperands(), device);
  }

  /** What it comes to on a device that is not here. */
  ResolvedPrecision on(DType fastestOperands, String device) {
    return switch (this) {
      case FLOAT32 -> new ResolvedPrecision(Precision.FLOAT32, "");
      case BFLOAT16 -> new ResolvedPrecision(Precision.BFLOAT16, "");
      case AUTO ->
          fastestOperands == DType.BF16
              ? new ResolvedPrecision(
                  Precision.BFLOAT16, "auto: %s multiplies bf16 in hardware".formatted(device))
              : new ResolvedPrecision(
                  Precision.FLOAT32,
                  "auto: %s does not multiply bf16 in hardware".formatted(device));
    };
  }

  /** The name as users spell it. */
  @Override
  public String toString() {
    return OptionName.of(this);
  }
}
