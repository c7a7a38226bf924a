package dev.gatun.selftest;

import dev.gatun.tensor.DType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Collects what a workbench finds, by row of the kernel table. */
final class Verdicts implements Judge {
  /** Findings that are kept of one row: more of the same say nothing new. */
  private static final int MAX_FINDINGS = 5;

  private final DType dtype;
  private final Map<String, Verdict> byRow = new LinkedHashMap<>();
  private String form = "";

  private static final class Verdict {
    final Set<String> forms = new LinkedHashSet<>();
    final List<String> findings = new ArrayList<>();
    double error;
    String worst = "";
  }

  Verdicts(DType dtype) {
    this.dtype = dtype;
  }

  /** What is heard from now on is of this form. */
  void begin(String name) {
    form = name;
  }

  @Override
  public void compared(String row, double fraction) {
    Verdict verdict = of(row);
    verdict.forms.add(form);
    if (verdict.worst.isEmpty() || fraction > verdict.error) {
      verdict.error = fraction;
      verdict.worst = form;
    }
  }

  @Override
  public void failed(String row, String finding) {
    Verdict verdict = of(row);
    verdict.forms.add(form);
    if (verdict.findings.size() < MAX_FINDINGS) {
      verdict.findings.add(form + ": " + finding);
    }
  }

  private Verdict of(String row) {
    return byRow.computeIfAbsent(row, _ -> new Verdict());
  }

  List<SelfTestResult> results() {
    List<SelfTestResult> results = new ArrayList<>();
    byRow.forEach(
        (row, verdict) ->
            results.add(
                new SelfTestResult(
                    row,
                    dtype,
                    verdict.forms.size(),
                    // Nothing could be compared: not an error of 0.
                    verdict.worst.isEmpty() ? Double.POSITIVE_INFINITY : verdict.error,
                    verdict.worst,
                    verdict.findings)));
    return results;
  }
}
