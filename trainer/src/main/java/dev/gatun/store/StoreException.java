package dev.gatun.store;

import dev.gatun.memory.GatunException;
import java.nio.file.Path;

/** The folder of a reference store cannot be used: no permission, no space, a failing disk. */
public final class StoreException extends GatunException {
  private static final long serialVersionUID = 1L;

  static final String REMEDY =
      "make room or name a folder on a local disk that can be written to with reference_store, or set"
          + " reference_store none";

  StoreException(Path folder, String problem) {
    super("reference store %s: %s; %s".formatted(folder, problem, REMEDY));
  }

  StoreException(Path folder, String problem, Throwable cause) {
    super("reference store %s: %s; %s".formatted(folder, problem, REMEDY), cause);
  }
}
