package dev.gatun.selftest;

import dev.gatun.backend.Backend;
import dev.gatun.backend.CpuOptions;
import dev.gatun.backend.OtherKernels;
import dev.gatun.bindings.kernels.gatun_kernels;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.List;
import java.util.Optional;

/** A CPU backend some of whose kernels are wrong: each does its work, and then damage. */
final class BrokenKernels implements AutoCloseable {
  /** What a broken kernel does after its work. */
  @FunctionalInterface
  interface Damage {
    /**
     * Does the damage.
     *
     * @param output the kernel's first output, of unknown size
     * @param arguments all of the kernel's
     * @return the kernel's status
     */
    int after(MemorySegment output, Object[] arguments);
  }

  /** Of an output, within which damage is done; those of the quick forms are smaller. */
  private static final long DAMAGED_BYTES = 4096;

  private static final MethodHandle CALL;

  static {
    try {
      CALL =
          MethodHandles.lookup()
              .findStatic(
                  BrokenKernels.class,
                  "call",
                  MethodType.methodType(
                      int.class, MethodHandle.class, Damage.class, Object[].class));
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final Arena arena = Arena.ofConfined();
  private final Backend backend;

  BrokenKernels(Damage damage, List<String> rows) {
    backend = OtherKernels.backend(new CpuOptions(2, null), table -> broken(table, damage, rows));
  }

  private MemorySegment broken(MemorySegment library, Damage damage, List<String> rows) {
    MemorySegment original = library.reinterpret(gatun_kernels.layout().byteSize());
    MemorySegment table = arena.allocate(gatun_kernels.layout());
    table.copyFrom(original);
    for (String row : rows) {
      long offset = gatun_kernels.layout().byteOffset(PathElement.groupElement(row));
      FunctionDescriptor descriptor = descriptor(row);
      MethodHandle kernel =
          Linker.nativeLinker()
              .downcallHandle(original.get(ValueLayout.ADDRESS, offset), descriptor);
      MethodHandle broken =
          MethodHandles.insertArguments(CALL, 0, kernel, damage)
              .asCollector(Object[].class, descriptor.argumentLayouts().size())
              .asType(descriptor.toMethodType());
      table.set(
          ValueLayout.ADDRESS, offset, Linker.nativeLinker().upcallStub(broken, descriptor, arena));
    }
    return table;
  }

  /** Rows of the kernel table that compute. */
  static List<String> rows() {
    return gatun_kernels.layout().memberLayouts().stream()
        .map(MemoryLayout::name)
        .flatMap(Optional::stream)
        .filter(name -> !List.of("abi_version", "last_error", "workspace_bytes").contains(name))
        .toList();
  }

  private static FunctionDescriptor descriptor(String row) {
    try {
      return (FunctionDescriptor)
          Class.forName(gatun_kernels.class.getName() + "$" + row)
              .getMethod("descriptor")
              .invoke(null);
    } catch (ReflectiveOperationException e) {
      throw new LinkageError(e.getMessage(), e);
    }
  }

  @SuppressWarnings("unused") // CALL
  private static int call(MethodHandle kernel, Damage damage, Object[] arguments) throws Throwable {
    int status = (int) kernel.invokeWithArguments(arguments);
    if (status != 0) {
      return status;
    }
    return damage.after(((MemorySegment) arguments[0]).reinterpret(DAMAGED_BYTES), arguments);
  }

  Backend backend() {
    return backend;
  }

  @Override
  public void close() {
    backend.close();
    arena.close();
  }
}
