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

  /** The same, telling also how to go on without the row. */
  BadRowException withRemedy() {
    RowPlace place = new RowPlace(path(), line(), byteOffset());
    return new BadRowException(place, problem() + "; --on_bad_row skip leaves such rows out", this);
  }
}
