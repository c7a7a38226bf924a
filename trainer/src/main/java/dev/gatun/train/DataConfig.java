package dev.gatun.train;

import dev.gatun.data.OnBadRow;
import dev.gatun.data.TruncationMode;
import dev.gatun.report.EffectiveConfig;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Which rows a run trains on.
 *
 * @param datasetName a JSONL or JSON file, or a folder that holds one per split
 * @param datasetTrainSplit the file's name, without extension, when {@code datasetName} is a folder
 * @param maxLength longest sequence (prompt and answer) in tokens; null: no limit
 * @param truncationMode which end of a longer sequence is kept
 * @param onBadRow what a row that cannot be trained on does
 */
public record DataConfig(
    Path datasetName,
    String datasetTrainSplit,
    @Nullable Integer maxLength,
    TruncationMode truncationMode,
    OnBadRow onBadRow)
    implements EffectiveConfig.Section {
  private static final List<String> EXTENSIONS = List.of(".jsonl", ".json");

  public DataConfig {
    Objects.requireNonNull(datasetName, "datasetName");
    Check.that(
        "dataset_train_split", !datasetTrainSplit.isBlank(), "nothing", "the name of a split");
    Check.that(
        "max_length",
        maxLength == null || maxLength >= 2,
        String.valueOf(maxLength),
        "at least 2 tokens, or 0 for no limit");
    Check.acts(
        "truncation_mode",
        truncationMode != TruncationMode.KEEP_START,
        maxLength != null,
        "max_length is off, so nothing is truncated; set max_length or remove truncation_mode");
    Objects.requireNonNull(onBadRow, "onBadRow");
  }

  /**
   * The file of the training split.
   *
   * @throws ConfigException if {@code datasetName} is a folder without one, or is nothing at all
   */
  public Path trainFile() {
    if (Files.isRegularFile(datasetName)) {
      return datasetName;
    }
    if (!Files.isDirectory(datasetName)) {
      throw new ConfigException(
          "dataset_name",
          "%s does not exist; expected a JSONL or JSON file, or a folder with one"
              .formatted(datasetName));
    }
    for (String extension : EXTENSIONS) {
      Path file = datasetName.resolve(datasetTrainSplit + extension);
      if (Files.isRegularFile(file)) {
        return file;
      }
    }
    throw new ConfigException(
        "dataset_name",
        ("%s holds neither %2$s.jsonl nor %2$s.json; name the file itself, or the split by"
                + " dataset_train_split")
            .formatted(datasetName, datasetTrainSplit));
  }
}
