package dev.gatun.library;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.lwjgl.system.Configuration;

/**
 * The native libraries that come with LWJGL. In a distribution they are files beside the jars;
 * elsewhere LWJGL unpacks them from its own. Whoever calls LWJGL asks for its library here first.
 */
public enum LwjglLibrary {
  XXHASH("xxHash", "lwjgl_xxhash"),
  LMDB("LMDB", "lwjgl_lmdb"),
  HWLOC("hwloc", "hwloc");

  static {
    // The default backends of LWJGL need sun.misc.Unsafe or an export of java.base.
    Configuration.MEMORY_BACKEND.set("ffm");
    if (XXHASH.installed != null) {
      Configuration.LIBRARY_PATH.set(XXHASH.installed.resolveSibling("").toString());
    }
  }

  private final String title;
  private final @Nullable Path installed;

  LwjglLibrary(String title, String name) {
    this.title = title;
    this.installed = InstalledLibraries.find(System.mapLibraryName(name));
  }

  /** Has LWJGL find its libraries; to be called before any of its classes is used. */
  public void configure() {
    // The static block has done it.
  }

  /** What to throw when a first call failed to link. */
  public LwjglLibraryException unavailable(LinkageError cause) {
    return new LwjglLibraryException(title, installed, cause);
  }
}
