package dev.gatun.selftest;

import java.util.function.Consumer;

/**
 * One form in which a contract runs.
 *
 * @param form sizes and options, for people
 * @param body runs the op on a workbench and compares
 */
public record OpCase(String form, Consumer<Workbench> body) {}
