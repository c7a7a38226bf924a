/**
 * The contracts of the ops, and the self-test that runs them on a user's machine.
 *
 * <p>A contract runs an op on a {@link dev.gatun.selftest.Workbench} and holds the results to
 * {@code dev.gatun.op.reference}; its tolerances are derived beside the comparison. The op tests
 * run the same contracts over more sizes. {@link dev.gatun.selftest.SelfTest} runs all of them on
 * one backend, then trains two tiny models on it and on the CPU.
 */
@NullMarked
package dev.gatun.selftest;

import org.jspecify.annotations.NullMarked;
