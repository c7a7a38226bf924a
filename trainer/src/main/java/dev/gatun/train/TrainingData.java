package dev.gatun.train;

import dev.gatun.data.DataReport;
import dev.gatun.data.DatasetFiles;
import dev.gatun.data.PairOptions;
import dev.gatun.data.PairTokens;
import dev.gatun.data.PreferenceDataset;
import dev.gatun.data.SftDataset;
import dev.gatun.data.SftOptions;
import dev.gatun.data.SftTokens;
import java.util.List;
import java.util.function.ToIntFunction;

/**
 * The rows of a run, tokenized.
 *
 * @param lengths tokens that each row takes in a batch
 * @param positions positions that the longest sequence takes
 * @param report what was found while reading, for people
 */
record TrainingData<R>(List<R> rows, int[] lengths, int positions, List<String> report) {

  static TrainingData<PairTokens> pairs(DpoConfig config, TrainingSetup.Source source) {
    DataConfig data = config.data();
    PreferenceDataset dataset =
        PreferenceDataset.load(
            DatasetFiles.find(data.datasetName(), data.datasetTrainSplit()),
            source.tokenizer(),
            PairOptions.ofLength(maxLength(data), data.truncationMode()),
            data.onBadRow(),
            threads(config.run()));
    return of(
        source,
        dataset.pairs(),
        PairTokens::length,
        pair -> pair.prompt().length + Math.max(pair.chosen().length, pair.rejected().length),
        dataset.report());
  }

  static TrainingData<SftTokens> texts(SftConfig config, TrainingSetup.Source source) {
    DataConfig data = config.data();
    Boolean completionOnly = config.completionOnlyLoss();
    SftOptions.Target target;
    if (completionOnly == null) {
      target = SftOptions.Target.COMPLETION_IF_PROMPTED;
    } else {
      target = completionOnly ? SftOptions.Target.COMPLETION : SftOptions.Target.EVERYTHING;
    }
    SftDataset dataset =
        SftDataset.load(
            DatasetFiles.find(data.datasetName(), data.datasetTrainSplit()),
            source.tokenizer(),
            new SftOptions(
                config.datasetTextField(), target, maxLength(data), data.truncationMode()),
            data.onBadRow(),
            threads(config.run()));
    return of(source, dataset.texts(), SftTokens::length, SftTokens::length, dataset.report());
  }

  private static <R> TrainingData<R> of(
      TrainingSetup.Source source,
      List<R> rows,
      ToIntFunction<R> length,
      ToIntFunction<R> positions,
      DataReport report) {
    int longest = rows.stream().mapToInt(positions).max().orElse(0);
    int limit = source.config().maxPositions();
    if (longest > limit) {
      throw new ConfigException(
          "max_length",
          "the longest sequence has %d tokens, the model's max_position_embeddings is %d; set"
                  .formatted(longest, limit)
              + " max_length to that or less");
    }
    return new TrainingData<>(
        rows, rows.stream().mapToInt(length).toArray(), longest, report.lines());
  }

  private static int maxLength(DataConfig data) {
    Integer maxLength = data.maxLength();
    return maxLength == null ? PairOptions.UNLIMITED : maxLength;
  }

  private static int threads(RunConfig run) {
    return run.threads() > 0 ? run.threads() : Runtime.getRuntime().availableProcessors();
  }
}
