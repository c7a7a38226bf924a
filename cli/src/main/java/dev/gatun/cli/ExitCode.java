package dev.gatun.cli;

import dev.gatun.backend.BackendUnavailableException;
import dev.gatun.backend.NativeException;
import dev.gatun.data.DataException;
import dev.gatun.hf.FormatException;
import dev.gatun.hf.TokenizerLibraryException;
import dev.gatun.hf.WriteException;
import dev.gatun.library.LwjglLibraryException;
import dev.gatun.store.StoreException;
import dev.gatun.train.ConfigException;
import dev.gatun.train.TrainingException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.CommandLine;

/** What the process says to its parent when it ends; documented in docs/exit-codes.md. */
enum ExitCode {
  OK(0, "success"),
  FAILURE(1, "unexpected failure; --verbose shows where"),
  USAGE(2, "unknown option, wrong value, or options that contradict each other"),
  INPUT(3, "a model or data file is missing, torn or malformed"),
  BACKEND(4, "the device or a native library is not available"),
  OUTPUT(5, "a file cannot be written (disk full, no permission)"),
  TRAINING(6, "training diverged, or a self-check failed"),
  INTERRUPTED(130, "interrupted; the step under way was finished and the model saved");

  private final int code;
  private final String meaning;

  ExitCode(int code, String meaning) {
    this.code = code;
    this.meaning = meaning;
  }

  int code() {
    return code;
  }

  String meaning() {
    return meaning;
  }

  /** Codes and meanings, for the help. */
  static Map<String, String> list() {
    Map<String, String> list = new LinkedHashMap<>();
    for (ExitCode exit : values()) {
      list.put(Integer.toString(exit.code), exit.meaning);
    }
    return list;
  }

  static ExitCode of(Throwable failure) {
    return switch (failure) {
      case CommandLine.ParameterException _, ConfigException _ -> USAGE;
      case FormatException _, DataException _ -> INPUT;
      case BackendUnavailableException _,
          NativeException _,
          TokenizerLibraryException _,
          LwjglLibraryException _,
          LinkageError _ ->
          BACKEND;
      case WriteException _, StoreException _, UncheckedIOException _, IOException _ -> OUTPUT;
      case TrainingException _ -> TRAINING;
      default -> FAILURE;
    };
  }
}
