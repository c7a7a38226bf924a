package dev.gatun.hf;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * A file that grows by lines, such as JSONL. A line is with the operating system when {@link
 * #append} returns. A last line without its end, which a killed process leaves, is cut off when the
 * file is opened again.
 */
public final class AppendedLines implements AutoCloseable {
  private final Path file;
  private final FileChannel channel;

  private AppendedLines(Path file, FileChannel channel) {
    this.file = file;
    this.channel = channel;
  }

  /**
   * Opens a file to write after its last whole line.
   *
   * @throws WriteException if it cannot be written
   */
  public static AppendedLines open(Path file) {
    try {
      FileChannel channel =
          FileChannel.open(
              file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
      try {
        channel.truncate(endOfLastLine(channel));
        channel.position(channel.size());
      } catch (IOException e) {
        channel.close();
        throw e;
      }
      return new AppendedLines(file, channel);
    } catch (IOException e) {
      throw new WriteException(file, "cannot be opened: " + WriteException.reason(e), e);
    }
  }

  /**
   * Writes a line and its end.
   *
   * @throws IllegalArgumentException if {@code line} has a line feed in it
   * @throws WriteException if it cannot be written
   */
  public void append(String line) {
    if (line.indexOf('\n') >= 0) {
      throw new IllegalArgumentException("a line has a line feed in it: " + Shown.quoted(line));
    }
    byte[] bytes = (line + '\n').getBytes(StandardCharsets.UTF_8);
    try {
      AtomicFiles.writeFully(channel, ByteBuffer.wrap(bytes));
    } catch (IOException e) {
      throw new WriteException(
          file,
          "a line of %d bytes cannot be written: %s"
              .formatted(bytes.length, WriteException.reason(e)),
          e);
    }
  }

  @Override
  public void close() {
    try {
      channel.close();
    } catch (IOException e) {
      throw new WriteException(file, "cannot be closed: " + WriteException.reason(e), e);
    }
  }

  private static long endOfLastLine(FileChannel channel) throws IOException {
    ByteBuffer block = ByteBuffer.allocate(8192);
    long end = channel.size();
    while (end > 0) {
      long begin = Math.max(0, end - block.capacity());
      block.clear().limit(Math.toIntExact(end - begin));
      while (block.hasRemaining()) {
        if (channel.read(block, begin + block.position()) < 0) {
          throw new IOException("shrank while it was read");
        }
      }
      for (int i = block.limit() - 1; i >= 0; i--) {
        if (block.get(i) == '\n') {
          return begin + i + 1;
        }
      }
      end = begin;
    }
    return 0;
  }
}
