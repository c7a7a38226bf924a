package dev.gatun.backend;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What Linux tells of this process's memory. */
final class ProcessMemory {
  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Pattern PEAK = Pattern.compile("(?m)^VmHWM:\\s*(\\d+) kB$");
  private static final long BYTES_PER_KB = 1024;

  private ProcessMemory() {}

  /** The largest resident set so far; empty where there is no {@code /proc}. */
  static OptionalLong peakBytes() {
    if (!Files.isReadable(STATUS)) {
      return OptionalLong.empty();
    }
    try {
      Matcher peak = PEAK.matcher(Files.readString(STATUS));
      return peak.find()
          ? OptionalLong.of(BYTES_PER_KB * Long.parseLong(peak.group(1)))
          : OptionalLong.empty();
    } catch (IOException e) {
      throw new UncheckedIOException(STATUS + " cannot be read", e);
    }
  }
}
