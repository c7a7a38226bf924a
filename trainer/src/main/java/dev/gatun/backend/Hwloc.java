package dev.gatun.backend;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.gatun.library.LwjglLibrary;
import dev.gatun.memory.ReleasedException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.lwjgl.system.Library;
import org.lwjgl.system.MemoryUtil;
import org.lwjgl.util.hwloc.HWLoc;
import org.lwjgl.util.hwloc.hwloc_cache_attr_s;
import org.lwjgl.util.hwloc.hwloc_obj;

/**
 * A topology of hwloc, Hardware Locality. All calls of hwloc are here. Closing it frees the
 * topology; what was bound stays bound.
 *
 * <p>The library, its constants and its structs are LWJGL's, the calls are not: the first call
 * through LWJGL makes bindings for every signature it knows, and would take longer than all else
 * before the first step.
 */
final class Hwloc implements AutoCloseable {
  /** How the pages of some memory are chosen: a policy, and the nodes that it applies to. */
  record MemoryBinding(Policy policy, List<Integer> nodes) {}

  /** Policies of {@code hwloc_membind_policy_t} that this project meets. */
  enum Policy {
    /** On the node of the thread that touches it first: what the system does unasked. */
    FIRST_TOUCH,
    /** From one node after the other. */
    INTERLEAVE,
    OTHER
  }

  private static boolean loaded;

  private final long topology;

  /** Bitmap of the hardware threads that the process may use. */
  private final long allowed;

  private boolean open = true;

  private Hwloc(long topology, long allowed) {
    this.topology = topology;
    this.allowed = allowed;
  }

  /**
   * The machine, as this process may use it.
   *
   * @throws dev.gatun.library.LwjglLibraryException if hwloc cannot be loaded
   */
  static Hwloc ofThisProcess() {
    return load(null, null);
  }

  /**
   * A machine that is not there, for tests.
   *
   * @param description as {@code hwloc_topology_set_synthetic} reads it: {@code numa:2 core:4 pu:2}
   * @param hardwareThreads those the process may use: {@code 0-3,8}
   */
  static Hwloc synthetic(String description, String hardwareThreads) {
    return load(description, hardwareThreads);
  }

  private static Hwloc load(@Nullable String description, @Nullable String hardwareThreads) {
    loadLibrary();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pointer = arena.allocate(JAVA_LONG);
      check("hwloc_topology_init", intOf(Functions.TOPOLOGY_INIT, pointer.address()));
      long topology = pointer.get(JAVA_LONG, 0);
      long allowed = newBitmap();
      try {
        // What the kernel says is enough; to ask each processor by CPUID, this thread would be
        // sent over all of them.
        check(
            "hwloc_topology_set_flags",
            intOf(
                Functions.TOPOLOGY_SET_FLAGS,
                topology,
                HWLoc.HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING));
        if (description != null) {
          check(
              "hwloc_topology_set_synthetic",
              intOf(
                  Functions.TOPOLOGY_SET_SYNTHETIC,
                  topology,
                  arena.allocateFrom(description).address()));
        }
        check("hwloc_topology_load", intOf(Functions.TOPOLOGY_LOAD, topology));
        allow(allowed, topology, arena, hardwareThreads);
        return new Hwloc(topology, allowed);
      } catch (Throwable failure) {
        call(Functions.BITMAP_FREE, allowed);
        call(Functions.TOPOLOGY_DESTROY, topology);
        throw failure;
      }
    }
  }

  private static synchronized void loadLibrary() {
    if (!loaded) {
      LwjglLibrary.HWLOC.configure();
      try {
        // Into this class loader, as LWJGL loads LMDB and xxHash; the class is not initialized.
        Library.loadSystem(
            System::load, System::loadLibrary, HWLoc.class, "org.lwjgl.hwloc", "hwloc");
      } catch (LinkageError e) {
        throw LwjglLibrary.HWLOC.unavailable(e);
      }
      loaded = true;
    }
  }

  private static void allow(
      long allowed, long topology, Arena arena, @Nullable String hardwareThreads) {
    long there = longOf(Functions.TOPOLOGY_GET_ALLOWED_CPUSET, topology);
    if (hardwareThreads != null) {
      check(
          "hwloc_bitmap_list_sscanf",
          intOf(
              Functions.BITMAP_LIST_SSCANF,
              allowed,
              arena.allocateFrom(hardwareThreads).address()));
    } else if (intOf(Functions.GET_CPUBIND, topology, allowed, HWLoc.HWLOC_CPUBIND_PROCESS) != 0) {
      // A system without affinity, as macOS: all that there are.
      check("hwloc_bitmap_and", intOf(Functions.BITMAP_AND, allowed, there, there));
    }
    check("hwloc_bitmap_and", intOf(Functions.BITMAP_AND, allowed, allowed, there));
  }

  /** Counts what the process may use. */
  CpuTopology topology() {
    requireOpen();
    int hardwareThreads = count(HWLoc.HWLOC_OBJ_PU);
    int cores = count(HWLoc.HWLOC_OBJ_CORE);
    return new CpuTopology(
        Math.max(1, count(HWLoc.HWLOC_OBJ_PACKAGE)), // A virtual machine may tell of none.
        numaNodes(),
        cores == 0 ? hardwareThreads : cores,
        hardwareThreads,
        caches());
  }

  private int count(int type) {
    return allowedObjects(type).size();
  }

  private List<Integer> numaNodes() {
    List<Integer> nodes = new ArrayList<>();
    long usable = newBitmap();
    try {
      // Those where memory comes from unasked.
      check(
          "hwloc_topology_get_default_nodeset",
          intOf(Functions.TOPOLOGY_GET_DEFAULT_NODESET, topology, usable, 0L));
      long permitted = longOf(Functions.TOPOLOGY_GET_ALLOWED_NODESET, topology);
      check("hwloc_bitmap_and", intOf(Functions.BITMAP_AND, usable, usable, permitted));
      for (long node : allowedObjects(HWLoc.HWLOC_OBJ_NUMANODE)) {
        int number = hwloc_obj.nos_index(node);
        if (intOf(Functions.BITMAP_ISSET, usable, number) != 0) {
          nodes.add(number);
        }
      }
    } finally {
      call(Functions.BITMAP_FREE, usable);
    }
    return nodes.stream().sorted().toList();
  }

  private List<CpuTopology.Cache> caches() {
    int[] types = {
      HWLoc.HWLOC_OBJ_L1CACHE,
      HWLoc.HWLOC_OBJ_L2CACHE,
      HWLoc.HWLOC_OBJ_L3CACHE,
      HWLoc.HWLOC_OBJ_L4CACHE
    };
    List<CpuTopology.Cache> caches = new ArrayList<>();
    for (int level = 1; level <= types.length; level++) {
      SortedMap<Long, Integer> countOfSize = new TreeMap<>();
      for (long cache : allowedObjects(types[level - 1])) {
        long attributes = MemoryUtil.memGetAddress(cache + hwloc_obj.ATTR);
        countOfSize.merge(
            MemoryUtil.memGetLong(attributes + hwloc_cache_attr_s.SIZE), 1, Integer::sum);
      }
      for (var entry : countOfSize.entrySet()) {
        caches.add(new CpuTopology.Cache(level, entry.getKey(), entry.getValue()));
      }
    }
    return caches;
  }

  /** Addresses of the objects that have at least one hardware thread that the process may use. */
  private List<Long> allowedObjects(int type) {
    List<Long> objects = new ArrayList<>();
    int depth = intOf(Functions.GET_TYPE_DEPTH, topology, type);
    long object = objectAt(depth, 0);
    for (int i = 1; object != MemoryUtil.NULL; i++) {
      if (intOf(Functions.BITMAP_INTERSECTS, hwloc_obj.ncpuset(object), allowed) != 0) {
        objects.add(object);
      }
      object = objectAt(depth, i);
    }
    return objects;
  }

  /** NULL after the last one, and if there are none. */
  private long objectAt(int depth, int index) {
    try {
      return (long) Functions.GET_OBJ_BY_DEPTH.invokeExact(topology, depth, index);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  /**
   * Has the pages of memory that nothing has touched yet come from {@code nodes} in turn.
   *
   * @param pages whole pages, which nothing else shares
   * @return false if the system refuses
   */
  boolean interleave(MemorySegment pages, List<Integer> nodes) {
    requireOpen();
    long set = newBitmap();
    try {
      for (int node : nodes) {
        check("hwloc_bitmap_set", intOf(BindingFunctions.BITMAP_SET, set, node));
      }
      return setAreaMembind(pages, set) == 0;
    } finally {
      call(Functions.BITMAP_FREE, set);
    }
  }

  private int setAreaMembind(MemorySegment pages, long set) {
    try {
      return (int)
          BindingFunctions.SET_AREA_MEMBIND.invokeExact(
              topology,
              pages.address(),
              pages.byteSize(),
              set,
              HWLoc.HWLOC_MEMBIND_INTERLEAVE,
              HWLoc.HWLOC_MEMBIND_BYNODESET);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  /** Where the pages of some memory come from; null if the system does not tell. */
  @Nullable MemoryBinding memoryBinding(MemorySegment pages) {
    requireOpen();
    long set = newBitmap();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment policy = arena.allocate(JAVA_INT);
      if (getAreaMembind(pages, set, policy) != 0) {
        return null;
      }
      List<Integer> nodes = new ArrayList<>();
      int node = -1;
      while ((node = intOf(BindingFunctions.BITMAP_NEXT, set, node)) >= 0) {
        nodes.add(node);
      }
      return new MemoryBinding(
          switch (policy.get(JAVA_INT, 0)) {
            case HWLoc.HWLOC_MEMBIND_FIRSTTOUCH -> Policy.FIRST_TOUCH;
            case HWLoc.HWLOC_MEMBIND_INTERLEAVE -> Policy.INTERLEAVE;
            default -> Policy.OTHER;
          },
          nodes);
    } finally {
      call(Functions.BITMAP_FREE, set);
    }
  }

  private int getAreaMembind(MemorySegment pages, long set, MemorySegment policy) {
    try {
      return (int)
          BindingFunctions.GET_AREA_MEMBIND.invokeExact(
              topology,
              pages.address(),
              pages.byteSize(),
              set,
              policy.address(),
              HWLoc.HWLOC_MEMBIND_BYNODESET);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  /** Lets the calling thread run wherever the process might when this topology was loaded. */
  void releaseThread() {
    requireOpen();
    check(
        "hwloc_set_cpubind",
        intOf(BindingFunctions.SET_CPUBIND, topology, allowed, HWLoc.HWLOC_CPUBIND_THREAD));
  }

  private static long newBitmap() {
    try {
      return (long) Functions.BITMAP_ALLOC.invokeExact();
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private void requireOpen() {
    if (!open) {
      throw new ReleasedException("topology of hwloc");
    }
  }

  private static void check(String function, int status) {
    if (status < 0) {
      throw new NativeException(
          function,
          status,
          "failure",
          "hwloc gives no reason; HWLOC_COMPONENTS_VERBOSE=1 shows what it looks at");
    }
  }

  @Override
  public void close() {
    if (open) {
      open = false;
      call(Functions.BITMAP_FREE, allowed);
      call(Functions.TOPOLOGY_DESTROY, topology);
    }
  }

  private static void call(MethodHandle function, long a) {
    try {
      function.invokeExact(a);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static long longOf(MethodHandle function, long a) {
    try {
      return (long) function.invokeExact(a);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static int intOf(MethodHandle function, long a) {
    try {
      return (int) function.invokeExact(a);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static int intOf(MethodHandle function, long a, int b) {
    try {
      return (int) function.invokeExact(a, b);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static int intOf(MethodHandle function, long a, long b) {
    try {
      return (int) function.invokeExact(a, b);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static int intOf(MethodHandle function, long a, long b, int c) {
    try {
      return (int) function.invokeExact(a, b, c);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  private static int intOf(MethodHandle function, long a, long b, long c) {
    try {
      return (int) function.invokeExact(a, b, c);
    } catch (Throwable t) {
      throw new AssertionError(t);
    }
  }

  /** What every start needs. Addresses are {@code long}: fewer kinds of calls to link. */
  private static final class Functions {
    static final MethodHandle TOPOLOGY_INIT = find("hwloc_topology_init", JAVA_INT, JAVA_LONG);
    static final MethodHandle TOPOLOGY_SET_FLAGS =
        find("hwloc_topology_set_flags", JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle TOPOLOGY_SET_SYNTHETIC =
        find("hwloc_topology_set_synthetic", JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle TOPOLOGY_LOAD = find("hwloc_topology_load", JAVA_INT, JAVA_LONG);
    static final MethodHandle TOPOLOGY_DESTROY = find("hwloc_topology_destroy", null, JAVA_LONG);
    static final MethodHandle TOPOLOGY_GET_ALLOWED_CPUSET =
        find("hwloc_topology_get_allowed_cpuset", JAVA_LONG, JAVA_LONG);
    static final MethodHandle TOPOLOGY_GET_ALLOWED_NODESET =
        find("hwloc_topology_get_allowed_nodeset", JAVA_LONG, JAVA_LONG);
    static final MethodHandle TOPOLOGY_GET_DEFAULT_NODESET =
        find("hwloc_topology_get_default_nodeset", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    static final MethodHandle GET_TYPE_DEPTH =
        find("hwloc_get_type_depth", JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle GET_OBJ_BY_DEPTH =
        find("hwloc_get_obj_by_depth", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT);
    static final MethodHandle GET_CPUBIND =
        find("hwloc_get_cpubind", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    static final MethodHandle BITMAP_ALLOC = find("hwloc_bitmap_alloc", JAVA_LONG);
    static final MethodHandle BITMAP_FREE = find("hwloc_bitmap_free", null, JAVA_LONG);
    static final MethodHandle BITMAP_LIST_SSCANF =
        find("hwloc_bitmap_list_sscanf", JAVA_INT, JAVA_LONG, JAVA_LONG);
    static final MethodHandle BITMAP_AND =
        find("hwloc_bitmap_and", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    static final MethodHandle BITMAP_ISSET =
        find("hwloc_bitmap_isset", JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle BITMAP_INTERSECTS =
        find("hwloc_bitmap_intersects", JAVA_INT, JAVA_LONG, JAVA_LONG);

    @SuppressWarnings("restricted") // downcallHandle: signatures as in hwloc.h
    static MethodHandle find(
        String name, @Nullable MemoryLayout result, MemoryLayout... arguments) {
      return Linker.nativeLinker()
          .downcallHandle(
              SymbolLookup.loaderLookup().findOrThrow(name),
              result == null
                  ? FunctionDescriptor.ofVoid(arguments)
                  : FunctionDescriptor.of(result, arguments));
    }
  }

  /** What only several NUMA nodes need. */
  private static final class BindingFunctions {
    static final MethodHandle SET_AREA_MEMBIND =
        Functions.find(
            "hwloc_set_area_membind",
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT);
    static final MethodHandle GET_AREA_MEMBIND =
        Functions.find(
            "hwloc_get_area_membind",
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT);
    static final MethodHandle SET_CPUBIND =
        Functions.find("hwloc_set_cpubind", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    static final MethodHandle BITMAP_SET =
        Functions.find("hwloc_bitmap_set", JAVA_INT, JAVA_LONG, JAVA_INT);
    static final MethodHandle BITMAP_NEXT =
        Functions.find("hwloc_bitmap_next", JAVA_INT, JAVA_LONG, JAVA_INT);
  }
}
