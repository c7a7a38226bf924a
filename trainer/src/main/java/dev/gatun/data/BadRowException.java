package dev.gatun.data;

import java.io.Serial;

/** One row cannot be used; the reader stands behind it and the rows after it can still be read. */
public final class BadRowException extends DataException {
  @Serial private static final long serialVersionUID = 1L;

  BadRowException(RowPlace place, String problem) {
    super(place, problem);
  }

  BadRowException(RowPlace place, String problem, Throwable cause) {
    super(place, problem, cause);
  }
}
