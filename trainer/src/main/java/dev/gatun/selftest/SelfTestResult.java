package dev.gatun.selftest;

import dev.gatun.tensor.DType;
import java.util.List;

/**
 * What the self-test found of one row of the kernel table, or of one figure of a training run.
 *
 * @param name as the kernel table has it; {@code matmul}, {@code copy}, {@code zero}; or {@code
 *     llama dpo gradient} and the like
 * @param dtype storage type
 * @param forms how many forms of it ran, of sizes and options
 * @param error the largest error, as a fraction of its tolerance
 * @param worst the form that had it
 * @param findings what is wrong; empty if it passed
 */
public record SelfTestResult(
    String name, DType dtype, int forms, double error, String worst, List<String> findings) {
  /** Copies the findings. */
  public SelfTestResult {
    findings = List.copyOf(findings);
  }

  public boolean passed() {
    return findings.isEmpty();
  }
}
