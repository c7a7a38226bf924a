package dev.gatun.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * The data files that a local {@code --dataset_name} means: the file itself, or those of a split in
 * a folder, found as the {@code datasets} library finds them.
 */
public final class DatasetFiles {
  // datasets 5.0.1, data_files.py, SPLIT_KEYWORDS.
  private static final Map<String, String> SPLIT_KEYWORDS =
      Map.of(
          "train", "train|training",
          "validation", "validation|valid|dev|val",
          "test", "test|testing|eval|evaluation");

  private static final Pattern FOREIGN =
      Pattern.compile("\\.(parquet|arrow|csv|tsv|gz|zst|zip|xz|bz2)$", Pattern.CASE_INSENSITIVE);

  private DatasetFiles() {}

  /**
   * Files of a split, in the order of their paths.
   *
   * <p>In a folder these are, searched with its sub-folders and without hidden ones: files whose
   * folder is named for the split, else files themselves named for it, a keyword ({@code train}, or
   * for {@code validation} also {@code dev}, ...) standing between any of {@code -._ } space and
   * digits. Where no name tells of any split, all files are {@code train}.
   *
   * @throws DataException if there are none, or they are of another format
   */
  public static List<Path> find(Path dataset, String split) {
    if (Files.isRegularFile(dataset)) {
      if (FOREIGN.matcher(dataset.getFileName().toString()).find()) {
        throw new DataException(RowPlace.wholeFile(dataset), notJson(dataset));
      }
      return List.of(dataset);
    }
    if (!Files.isDirectory(dataset)) {
      throw new DataException(
          RowPlace.wholeFile(dataset),
          "no such file or folder; a data set is a local .jsonl or .json file, or a folder of them"
              + " (Gatun downloads nothing)");
    }
    List<Path> all = files(dataset);
    List<Path> json = all.stream().filter(DatasetFiles::isJson).toList();
    if (json.isEmpty()) {
      throw new DataException(
          RowPlace.wholeFile(dataset),
          all.isEmpty()
              ? "the folder holds no file, expected .jsonl or .json files"
              : "the folder holds no .jsonl or .json file; "
                  + all.getFirst().getFileName()
                  + " "
                  + notJson(all.getFirst()));
    }
    for (Named named : Named.values()) {
      if (SPLIT_KEYWORDS.values().stream().anyMatch(k -> named.matches(dataset, json, k))) {
        List<Path> found =
            named.select(dataset, json, SPLIT_KEYWORDS.getOrDefault(split, Pattern.quote(split)));
        if (!found.isEmpty()) {
          return found;
        }
        throw noSplit(dataset, split, json);
      }
    }
    List<Path> found =
        split.equals("train") ? json : Named.FILE.select(dataset, json, Pattern.quote(split));
    if (found.isEmpty()) {
      throw noSplit(dataset, split, json);
    }
    return found;
  }

  /** Which part of a path is named for a split. */
  private enum Named {
    FOLDER {
      @Override
      boolean matches(Path path, Pattern pattern) {
        Path folder = path.getParent();
        if (folder != null) {
          for (Path name : folder) {
            if (pattern.matcher(name.toString()).find()) {
              return true;
            }
          }
        }
        return false;
      }
    },
    FILE {
      @Override
      boolean matches(Path path, Pattern pattern) {
        return pattern.matcher(path.getFileName().toString()).find();
      }
    };

    abstract boolean matches(Path path, Pattern pattern);

    boolean matches(Path root, List<Path> files, String keywords) {
      return !select(root, files, keywords).isEmpty();
    }

    List<Path> select(Path root, List<Path> files, String keywords) {
      Pattern pattern = Pattern.compile("(^|[-._ 0-9])(" + keywords + ")($|[-._ 0-9])");
      return files.stream().filter(file -> matches(root.relativize(file), pattern)).toList();
    }
  }

  private static List<Path> files(Path folder) {
    try (Stream<Path> walk = Files.walk(folder)) {
      return walk.filter(Files::isRegularFile)
          .filter(file -> isShown(folder.relativize(file)))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new DataException(
          RowPlace.wholeFile(folder), "the folder cannot be read: " + e.getMessage(), e);
    }
  }

  private static boolean isShown(Path relative) {
    for (Path name : relative) {
      String text = name.toString();
      if (text.startsWith(".") || text.startsWith("__")) {
        return false;
      }
    }
    String name = relative.getFileName().toString();
    return !name.equals("README.md")
        && !name.equals("dataset_info.json")
        && !name.equals("dataset_infos.json")
        && !name.equals("config.json");
  }

  private static boolean isJson(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    return name.endsWith(".jsonl") || name.endsWith(".json") || name.endsWith(".ndjson");
  }

  private static String notJson(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    if (name.endsWith(".gz") || name.endsWith(".zst") || name.endsWith(".zip")) {
      return "is compressed, expected .jsonl or .json: unpack it first";
    }
    return "is not a .jsonl or .json file: convert it, for example in Python with"
        + " datasets.load_dataset(...)[\"train\"].to_json(\"train.jsonl\")";
  }

  private static DataException noSplit(Path folder, String split, List<Path> json) {
    return new DataException(
        RowPlace.wholeFile(folder),
        "the folder holds no file of the split \"%s\": name the split by --dataset_train_split, or give the file itself; its files are %s"
            .formatted(
                split,
                String.join(
                        ", ",
                        json.stream().limit(5).map(f -> folder.relativize(f).toString()).toList())
                    + (json.size() > 5 ? ", ..." : "")));
  }
}
