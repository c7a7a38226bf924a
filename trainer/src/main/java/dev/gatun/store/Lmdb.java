package dev.gatun.store;

import dev.gatun.hf.FormatException;
import dev.gatun.library.LwjglLibrary;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.IntBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.lwjgl.PointerBuffer;
import org.lwjgl.system.MemoryStack;
import org.lwjgl.system.MemoryUtil;
import org.lwjgl.util.lmdb.LMDB;
import org.lwjgl.util.lmdb.MDBEnvInfo;
import org.lwjgl.util.lmdb.MDBStat;
import org.lwjgl.util.lmdb.MDBVal;

/**
 * One LMDB environment: a folder with {@code data.mdb} and {@code store.lock}, and in it one table
 * of bytes by bytes. All calls of LMDB are here.
 *
 * <p>A transaction is there whole or not at all, whenever the process is killed: LMDB writes pages
 * beside those in use, forces them to the disk, and then switches over by writing one of two
 * headers. {@code MDB_NOMETASYNC} leaves the header to the next force: after a loss of power the
 * last transaction may be missing, and nothing else.
 *
 * <p>Several processes may use a folder at once; one process opens it once, however often it is
 * asked for. Who writes has a lock of the system's on {@code store.lock} alone, who reads shares
 * it: it ends with its process. LMDB's own would not, since LWJGL builds it without robust mutexes,
 * and who waits for a process that was killed would wait for ever; so they are off ({@code
 * MDB_NOLOCK}). A map that is full is enlarged and the transaction begins again. Thread-safe.
 */
final class Lmdb implements AutoCloseable {
  /** A key and its value. */
  record Entry(byte[] key, byte[] value) {}

  /** Address space, not disk: the file grows as it is written. */
  static final long FIRST_MAP_BYTES = 1L << 30;

  private static final String DATA_FILE = "data.mdb";
  private static final String LOCK_FILE = "store.lock";
  private static final int FLAGS = LMDB.MDB_NOTLS | LMDB.MDB_NOMETASYNC | LMDB.MDB_NOLOCK;
  private static final int FILE_MODE = 0644;

  /** Those that are open in this process, by real path. */
  private static final Map<Path, Lmdb> OPEN = new HashMap<>();

  static {
    LwjglLibrary.LMDB.configure();
  }

  private final Path folder;
  private final Path realFolder;
  private final FileChannel lockFile;
  private final long environment;
  private final int table;
  private int users = 1;

  private Lmdb(Path folder, Path realFolder, FileChannel lockFile, long environment, int table) {
    this.folder = folder;
    this.realFolder = realFolder;
    this.lockFile = lockFile;
    this.environment = environment;
    this.table = table;
  }

  /**
   * Opens a folder, making it if it is not there.
   *
   * @throws StoreException if it cannot be made, read or written
   * @throws FormatException if it holds something else, or is damaged
   */
  static Lmdb open(Path folder) {
    return open(folder, FIRST_MAP_BYTES);
  }

  /** The same, with another size of the first map. */
  static Lmdb open(Path folder, long mapBytes) {
    synchronized (OPEN) {
      Path realFolder;
      try {
        Files.createDirectories(folder);
        realFolder = folder.toRealPath();
      } catch (IOException e) {
        throw new StoreException(
            folder, "the folder cannot be made (%s)".formatted(e.getClass().getSimpleName()), e);
      }
      Lmdb open = OPEN.get(realFolder);
      if (open != null) {
        open.users++;
        return open;
      }
      Lmdb opened = openLocked(folder, realFolder, mapBytes);
      OPEN.put(realFolder, opened);
      return opened;
    }
  }

  /** Alone with the folder, since who opens it first writes its headers. */
  private static Lmdb openLocked(Path folder, Path realFolder, long mapBytes) {
    FileChannel lockFile;
    try {
      lockFile =
          FileChannel.open(
              realFolder.resolve(LOCK_FILE),
              StandardOpenOption.CREATE,
              StandardOpenOption.READ,
              StandardOpenOption.WRITE);
    } catch (IOException e) {
      throw cannotLock(folder, e);
    }
    try (FileLock _ = lockFile.lock()) {
      return open(folder, realFolder, lockFile, mapBytes);
    } catch (IOException e) {
      close(lockFile, e);
      throw cannotLock(folder, e);
    } catch (LinkageError e) {
      close(lockFile, e);
      throw LwjglLibrary.LMDB.unavailable(e);
    } catch (RuntimeException e) {
      close(lockFile, e);
      throw e;
    }
  }

  private static StoreException cannotLock(Path folder, IOException cause) {
    return new StoreException(
        folder, "%s cannot be locked (%s)".formatted(LOCK_FILE, cause.getMessage()), cause);
  }

  private static void close(FileChannel channel, Throwable failure) {
    try {
      channel.close();
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  private static Lmdb open(Path folder, Path realFolder, FileChannel lockFile, long mapBytes) {
    try (MemoryStack stack = MemoryStack.stackPush()) {
      PointerBuffer pointer = stack.mallocPointer(1);
      check(folder, "cannot be opened", LMDB.mdb_env_create(pointer));
      long environment = pointer.get(0);
      try {
        check(folder, "cannot be opened", LMDB.mdb_env_set_mapsize(environment, mapBytes));
        check(
            folder,
            "cannot be opened",
            LMDB.mdb_env_open(environment, realFolder.toString(), FLAGS, FILE_MODE));
        requireWhole(folder, realFolder, environment, stack);
        return new Lmdb(
            folder, realFolder, lockFile, environment, openTable(folder, environment, stack));
      } catch (Throwable failure) {
        LMDB.mdb_env_close(environment);
        throw failure;
      }
    }
  }

  /** LMDB maps its file and believes it: reading beyond the end of one would end the process. */
  private static void requireWhole(
      Path folder, Path realFolder, long environment, MemoryStack stack) {
    MDBEnvInfo info = MDBEnvInfo.malloc(stack);
    MDBStat stat = MDBStat.malloc(stack);
    check(folder, "cannot be read", LMDB.mdb_env_info(environment, info));
    check(folder, "cannot be read", LMDB.mdb_env_stat(environment, stat));
    Path file = realFolder.resolve(DATA_FILE);
    long expected = (info.me_last_pgno() + 1) * stat.ms_psize();
    try {
      long size = Files.size(file);
      // Before the first transaction the file has its two headers, or nothing yet.
      if (size < expected && info.me_last_txnid() > 0) {
        throw new FormatException(
            file,
            "has %d bytes, expected at least %d: it was cut; delete %s, its scores are made again"
                .formatted(size, expected, folder));
      }
    } catch (IOException e) {
      throw new StoreException(folder, "cannot be read (%s)".formatted(e.getMessage()), e);
    }
  }

  private static int openTable(Path folder, long environment, MemoryStack stack) {
    PointerBuffer pointer = stack.mallocPointer(1);
    IntBuffer table = stack.mallocInt(1);
    check(
        folder,
        "cannot be read",
        LMDB.mdb_txn_begin(environment, MemoryUtil.NULL, LMDB.MDB_RDONLY, pointer));
    long transaction = pointer.get(0);
    int status = LMDB.mdb_dbi_open(transaction, (CharSequence) null, 0, table);
    LMDB.mdb_txn_abort(transaction);
    check(folder, "cannot be read", status);
    return table.get(0);
  }

  /** The values of keys, null where there is none; all as of one moment. */
  synchronized List<byte @Nullable []> get(List<byte[]> keys) {
    return read(
        transaction -> {
          List<byte @Nullable []> values = new ArrayList<>();
          for (byte[] key : keys) {
            values.add(get(transaction, key));
          }
          return values;
        });
  }

  private byte @Nullable [] get(long transaction, byte[] key) {
    try (MemoryStack stack = MemoryStack.stackPush()) {
      MDBVal keyBytes = MDBVal.malloc(stack).mv_data(stack.bytes(key));
      MDBVal found = MDBVal.calloc(stack);
      int status = LMDB.mdb_get(transaction, table, keyBytes, found);
      if (status == LMDB.MDB_NOTFOUND) {
        return null;
      }
      check(folder, "cannot be read", status);
      ByteBuffer data = found.mv_data();
      byte[] value = new byte[data == null ? 0 : data.remaining()];
      if (data != null) {
        data.get(value);
      }
      return value;
    }
  }

  /** Number of keys. */
  synchronized long entries() {
    return read(
        transaction -> {
          try (MemoryStack stack = MemoryStack.stackPush()) {
            MDBStat stat = MDBStat.malloc(stack);
            check(folder, "cannot be read", LMDB.mdb_stat(transaction, table, stat));
            return stat.ms_entries();
          }
        });
  }

  @FunctionalInterface
  private interface Reading<T> {
    T in(long transaction);
  }

  private <T> T read(Reading<T> reading) {
    try (FileLock _ = lockFile.lock(0, Long.MAX_VALUE, true)) {
      long transaction = begin(LMDB.MDB_RDONLY);
      try {
        return reading.in(transaction);
      } finally {
        LMDB.mdb_txn_abort(transaction);
      }
    } catch (IOException e) {
      throw cannotLock(folder, e);
    }
  }

  /**
   * Puts entries, all of them or none; those there were are replaced.
   *
   * @throws StoreException if they cannot be written
   */
  synchronized void put(List<Entry> entries) {
    try (FileLock _ = lockFile.lock()) {
      while (!tryPut(entries)) {
        enlarge();
      }
    } catch (IOException e) {
      throw cannotLock(folder, e);
    }
  }

  /** False if the map is too small; then nothing has changed. */
  private boolean tryPut(List<Entry> entries) {
    long transaction = begin(0);
    int status = LMDB.MDB_SUCCESS;
    for (Entry entry : entries) {
      status = put(transaction, entry);
      if (status != LMDB.MDB_SUCCESS) {
        break;
      }
    }
    if (status == LMDB.MDB_SUCCESS) {
      status = LMDB.mdb_txn_commit(transaction);
    } else {
      LMDB.mdb_txn_abort(transaction);
    }
    if (status == LMDB.MDB_MAP_FULL) {
      return false;
    }
    check(folder, "cannot be written", status);
    return true;
  }

  private int put(long transaction, Entry entry) {
    ByteBuffer value = MemoryUtil.memAlloc(entry.value().length);
    try (MemoryStack stack = MemoryStack.stackPush()) {
      value.put(0, entry.value());
      return LMDB.mdb_put(
          transaction,
          table,
          MDBVal.malloc(stack).mv_data(stack.bytes(entry.key())),
          MDBVal.malloc(stack).mv_data(value),
          0);
    } finally {
      MemoryUtil.memFree(value);
    }
  }

  private long begin(int flags) {
    try (MemoryStack stack = MemoryStack.stackPush()) {
      PointerBuffer pointer = stack.mallocPointer(1);
      int status = LMDB.mdb_txn_begin(environment, MemoryUtil.NULL, flags, pointer);
      while (status == LMDB.MDB_MAP_RESIZED) {
        // Another process enlarged the map: take its size.
        check(folder, "cannot be read", LMDB.mdb_env_set_mapsize(environment, 0));
        status = LMDB.mdb_txn_begin(environment, MemoryUtil.NULL, flags, pointer);
      }
      check(folder, "cannot be read", status);
      return pointer.get(0);
    }
  }

  private void enlarge() {
    try (MemoryStack stack = MemoryStack.stackPush()) {
      MDBEnvInfo info = MDBEnvInfo.malloc(stack);
      check(folder, "cannot be read", LMDB.mdb_env_info(environment, info));
      check(
          folder,
          "cannot be enlarged",
          LMDB.mdb_env_set_mapsize(environment, Math.multiplyExact(info.me_mapsize(), 2)));
    }
  }

  private static void check(Path folder, String problem, int status) {
    switch (status) {
      case LMDB.MDB_SUCCESS -> {}
      case LMDB.MDB_INVALID,
          LMDB.MDB_CORRUPTED,
          LMDB.MDB_PAGE_NOTFOUND,
          LMDB.MDB_VERSION_MISMATCH,
          LMDB.MDB_INCOMPATIBLE ->
          throw new FormatException(
              folder.resolve(DATA_FILE),
              "is damaged or no reference store (%s); delete %s, its scores are made again"
                  .formatted(LMDB.mdb_strerror(status), folder));
      default ->
          throw new StoreException(folder, "%s (%s)".formatted(problem, LMDB.mdb_strerror(status)));
    }
  }

  /** Frees it when its last user closes it. */
  @Override
  public void close() {
    synchronized (OPEN) {
      if (--users == 0) {
        OPEN.remove(realFolder);
        LMDB.mdb_env_close(environment);
        try {
          lockFile.close();
        } catch (IOException e) {
          throw cannotLock(folder, e);
        }
      }
    }
  }
}
