/**
 * Speed of single ops and of native calls, beside what the machine can do. After {@code ./mvnw
 * package -DskipTests}: {@code java -jar benchmarks/target/benchmarks.jar}, with the name of a
 * benchmark or {@code -h}; one pass alone with {@code OpBenchmark -p pass=RMSNORM_FORWARD}.
 */
@NullMarked
package dev.gatun.benchmarks;

import org.jspecify.annotations.NullMarked;
