package dev.gatun.bindings;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * The environment that native libraries read when they are loaded; Java's own copy is read-only.
 */
final class ProcessEnvironment {
  private ProcessEnvironment() {}

  /** Sets a variable that the user did not set. Where the C library has no setenv, does nothing. */
  static void setDefault(String name, String value) {
    Linker linker = Linker.nativeLinker();
    Optional<MemorySegment> setenv = linker.defaultLookup().find("setenv");
    if (setenv.isEmpty()) {
      return;
    }
    MethodHandle call =
        linker.downcallHandle(
            setenv.get(),
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.ADDRESS,
                ValueLayout.ADDRESS,
                ValueLayout.JAVA_INT));
    int status;
    try (Arena arena = Arena.ofConfined()) {
      status =
          (int)
              call.invokeExact(
                  arena.allocateFrom(name), arena.allocateFrom(value), /* overwrite */ 0);
    } catch (Throwable e) {
      throw new IllegalStateException("setenv " + name, e);
    }
    if (status != 0) {
      throw new IllegalStateException("setenv " + name + "=" + value + " failed");
    }
  }
}
