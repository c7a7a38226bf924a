package dev.gatun.op.reference;

import java.util.Arrays;

/** Norm and factor of torch.nn.utils.clip_grad_norm_. */
public final class GradNormReference {
  private GradNormReference() {}

  /** {norm, min(1, maxNorm / (norm + 1e-6))}; the factor is 1 if maxNorm is 0. */
  public static double[] normAndScale(double[] gradient, double maxNorm) {
    double norm = Math.sqrt(Arrays.stream(gradient).map(g -> g * g).sum());
    return new double[] {norm, maxNorm > 0 ? Math.min(1, maxNorm / (norm + 1e-6)) : 1};
  }
}
