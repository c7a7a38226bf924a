/**
 * Speed of single ops and of native calls. After {@code ./mvnw package -DskipTests}: {@code java
 * -jar benchmarks/target/benchmarks.jar}, with the name of a benchmark or {@code -h}.
 */
@NullMarked
package dev.gatun.benchmarks;

import org.jspecify.annotations.NullMarked;
