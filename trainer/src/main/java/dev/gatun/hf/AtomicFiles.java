package dev.gatun.hf;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * Files that are there whole or not at all: written beside their place, forced to the disk,
 * renamed. A failure leaves what was there before.
 */
public final class AtomicFiles {
  /** Writes the content of a file. */
  interface Content {
    void writeTo(FileChannel channel) throws IOException;
  }

  private AtomicFiles() {}

  /**
   * Writes text as UTF-8, replacing the file.
   *
   * @throws WriteException if it cannot be written
   */
  public static void write(Path file, String text) {
    write(file, text.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Writes bytes, replacing the file.
   *
   * @throws WriteException if it cannot be written
   */
  public static void write(Path file, byte[] bytes) {
    write(file, bytes.length, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
  }

  static void write(Path file, long sizeBytes, Content content) {
    try {
      requireSpace(file, folderOf(file), sizeBytes);
      replace(file, content);
    } catch (IOException e) {
      throw failure(file, sizeBytes, e);
    }
  }

  /** Writes a file beside its place, then puts it there; after a failure nothing is left of it. */
  static void replace(Path file, Content content) throws IOException {
    Path folder = folderOf(file);
    Path draft =
        folder.resolve(".%s.%d.tmp".formatted(file.getFileName(), ProcessHandle.current().pid()));
    try {
      try (FileChannel channel =
          FileChannel.open(
              draft,
              StandardOpenOption.CREATE,
              StandardOpenOption.TRUNCATE_EXISTING,
              StandardOpenOption.WRITE)) {
        content.writeTo(channel);
        channel.force(true);
      }
      Files.move(draft, file, StandardCopyOption.ATOMIC_MOVE);
      force(folder);
    } catch (IOException | RuntimeException | Error e) {
      delete(draft, e);
      throw e;
    }
  }

  /** Fails before anything is written where the disk is too full. */
  static void requireSpace(Path file, Path folder, long sizeBytes) throws IOException {
    FileStore store = Files.getFileStore(folder);
    // Some file systems do not know their size and say 0.
    if (store.getTotalSpace() > 0 && store.getUsableSpace() < sizeBytes) {
      throw new WriteException(
          file,
          "needs %d bytes, but %d are free on the disk of %s; nothing was changed: free some space or choose another folder"
              .formatted(sizeBytes, store.getUsableSpace(), folder));
    }
  }

  /** What to throw when writing {@code file} failed and what was written of it is gone again. */
  static WriteException failure(Path file, long sizeBytes, IOException e) {
    return new WriteException(
        file,
        "cannot be written: %s (needs %d bytes, %s); nothing was changed: make room, or choose a folder that can be written to"
            .formatted(WriteException.reason(e), sizeBytes, free(folderOf(file))),
        e);
  }

  private static String free(Path folder) {
    try {
      return Files.getFileStore(folder).getUsableSpace() + " are free";
    } catch (IOException e) {
      return "free space unknown";
    }
  }

  static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  /** Forces the names in a folder to the disk: a rename alone may not survive a power cut. */
  static void force(Path folder) throws IOException {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  static Path folderOf(Path file) {
    Path parent = file.toAbsolutePath().getParent();
    return parent == null ? file.toAbsolutePath() : parent;
  }

  private static void delete(Path draft, Throwable cause) {
    try {
      Files.deleteIfExists(draft);
    } catch (IOException e) {
      cause.addSuppressed(e);
    }
  }
}
