package dev.gatun.train;

import dev.gatun.data.OnBadRow;
import dev.gatun.data.TruncationMode;
import dev.gatun.report.EffectiveConfig;
import java.nio.file.Path;
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
}
