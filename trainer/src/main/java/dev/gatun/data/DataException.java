package dev.gatun.data;

import dev.gatun.memory.GatunException;
import java.io.Serial;
import java.nio.file.Path;

/** A data file, or a row of one, cannot be used; the message says where, why, and the remedy. */
public class DataException extends GatunException {
  @Serial private static final long serialVersionUID = 1L;

  private final transient RowPlace place;
  private final String problem;

  DataException(RowPlace place, String problem) {
    super(place + ": " + problem);
    this.place = place;
    this.problem = problem;
  }

  DataException(RowPlace place, String problem, Throwable cause) {
    super(place + ": " + problem, cause);
    this.place = place;
    this.problem = problem;
  }

  /** The file. */
  public Path path() {
    return place.file();
  }

  /** 1-based; 0 where the whole file is meant. */
  public long line() {
    return place.line();
  }

  /** 0-based, from the beginning of the file. */
  public long byteOffset() {
    return place.byteOffset();
  }

  /** What is wrong and the remedy, without the place. */
  public String problem() {
    return problem;
  }
}
