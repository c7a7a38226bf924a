package dev.gatun.benchmarks;

import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** What a benchmark did, reported per second. */
@AuxCounters
@State(Scope.Thread)
public class Work {
  /** 1e9 bytes that cannot be avoided: each tensor read and written once. */
  public double gigabytes;

  /** 1e9 multiplications and additions. */
  public double gigaFlops;

  /** 1e6 tokens. */
  public double megaTokens;
}
