package dev.gatun.memory;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Locale;

/**
 * Zeroed memory straight from the kernel, aligned to and advised for huge pages (Linux).
 *
 * <p>{@code Arena.allocate} would write zeros to every page before the advice could be given, and
 * counts against {@code -XX:MaxDirectMemorySize}, whose default is the size of the Java heap. Pages
 * mapped here become resident when they are first touched.
 */
final class AnonymousPages {
  /** Size of a transparent huge page on x86-64 and on aarch64 with 4 KiB pages. */
  static final long HUGE_PAGE_BYTES = 2L << 20;

  // <sys/mman.h>; these values are the same on every Linux architecture that Java 25 supports.
  private static final int PROT_READ_WRITE = 0x1 | 0x2;
  private static final int MAP_PRIVATE_ANONYMOUS = 0x02 | 0x20;
  private static final int MADV_HUGEPAGE = 14;

  private AnonymousPages() {}

  /** Whether this system offers what {@link #map} needs. */
  static boolean supported() {
    return System.getProperty("os.name").toLowerCase(Locale.ROOT).equals("linux");
  }

  /**
   * Maps {@code sizeBytes} zero bytes that live as long as {@code arena}.
   *
   * @throws MemoryExhaustedException if the kernel refuses
   */
  @SuppressWarnings("restricted") // reinterpret: to the size that was mapped
  static MemorySegment map(Arena arena, String name, long sizeBytes) {
    // One huge page more than asked for, so that an aligned run of sizeBytes lies inside.
    long mappedBytes = Math.addExact(roundUp(sizeBytes), HUGE_PAGE_BYTES);
    MemorySegment mapped;
    try {
      mapped =
          (MemorySegment)
              Functions.MMAP.invokeExact(
                  MemorySegment.NULL, mappedBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0L);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
    if (mapped.address() == -1) { // MAP_FAILED
      throw new MemoryExhaustedException(name, sizeBytes);
    }
    MemorySegment owned =
        mapped.reinterpret(mappedBytes, arena, pages -> unmap(pages, mappedBytes));
    MemorySegment aligned = owned.asSlice(-mapped.address() & (HUGE_PAGE_BYTES - 1), sizeBytes);
    adviseHugePages(aligned);
    return aligned;
  }

  private static void adviseHugePages(MemorySegment segment) {
    try {
      // Advice only: a kernel built without transparent huge pages answers EINVAL, and small pages
      // hold the same bytes.
      int _ = (int) Functions.MADVISE.invokeExact(segment, segment.byteSize(), MADV_HUGEPAGE);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static void unmap(MemorySegment pages, long sizeBytes) {
    int status;
    try {
      status = (int) Functions.MUNMAP.invokeExact(pages, sizeBytes);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
    if (status != 0) {
      throw new AssertionError("munmap of " + sizeBytes + " bytes failed");
    }
  }

  private static long roundUp(long sizeBytes) {
    return Math.addExact(sizeBytes, HUGE_PAGE_BYTES - 1) & -HUGE_PAGE_BYTES;
  }

  /** Looked up on first use, so that other systems never ask for them. */
  private static final class Functions {
    static final MethodHandle MMAP =
        find(
            "mmap",
            FunctionDescriptor.of(
                ADDRESS, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_INT, JAVA_LONG));
    static final MethodHandle MADVISE =
        find("madvise", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT));
    static final MethodHandle MUNMAP =
        find("munmap", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_LONG));

    @SuppressWarnings("restricted") // downcallHandle: signatures as in sys/mman.h
    private static MethodHandle find(String name, FunctionDescriptor descriptor) {
      Linker linker = Linker.nativeLinker();
      return linker.downcallHandle(linker.defaultLookup().findOrThrow(name), descriptor);
    }
  }
}
