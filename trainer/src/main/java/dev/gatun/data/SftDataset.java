package dev.gatun.data;

import dev.gatun.hf.AddSpecialTokens;
import dev.gatun.hf.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;

/**
 * All texts of a run that imitates texts, in file order, ready to train on.
 *
 * @param report what was found on the way
 */
public record SftDataset(List<SftTokens> texts, DataReport report) {

  public SftDataset {
    texts = List.copyOf(texts);
  }

  /**
   * Reads, tokenizes and truncates the rows of files as TRL's SFTTrainer does (1.13): {@code
   * prompt} and {@code completion}, or the text column; end-of-text is appended as text unless
   * there.
   *
   * @param numThreads that tokenize
   * @throws DataException if a row is bad and {@code onBadRow} says error, if a file cannot be
   *     read, or if no row is left
   */
  public static SftDataset load(
      List<Path> files,
      Tokenizer tokenizer,
      SftOptions options,
      OnBadRow onBadRow,
      int numThreads) {
    Loader loader = new Loader(tokenizer, options, numThreads);
    loader.readAll(files, onBadRow);
    int[] prompts = loader.kept.stream().mapToInt(text -> text.prompt().length).toArray();
    int[] completions = loader.kept.stream().mapToInt(text -> text.completion().length).toArray();
    return new SftDataset(
        loader.kept,
        loader.tally.report(
            files.size(),
            List.of(
                DataReport.Lengths.of("prompt", prompts),
                DataReport.Lengths.of("completion", completions))));
  }

  /** A row as text; the prompt is empty and not {@code prompted} where there is only a text. */
  private record Sample(String prompt, String completion, boolean prompted) {}

  private static final class Loader extends RowLoader<Sample> {
    final List<SftTokens> kept = new ArrayList<>();
    private final Tokenizer tokenizer;
    private final SftOptions options;
    private final int numThreads;
    private final EndOfText endOfText;
    private final OptionalInt bos;
    private final Set<Sample> seen = new HashSet<>();

    Loader(Tokenizer tokenizer, SftOptions options, int numThreads) {
      super(Set.of("prompt", "completion", options.textColumn()));
      this.tokenizer = tokenizer;
      this.options = options;
      this.numThreads = numThreads;
      this.endOfText = EndOfText.of(tokenizer);
      this.bos = tokenizer.bosTokenId();
    }

    @Override
    Sample parse(JsonRow row) {
      if (row.has("prompt") || row.has("completion")) {
        return new Sample(row.text("prompt"), row.text("completion"), true);
      }
      if (row.has("messages") && !row.has(options.textColumn())) {
        throw new BadRowException(
            row.place(),
            "the row holds \"messages\" (a conversation), expected \"prompt\" and \"completion\","
                + " or \"%s\"; conversations are not supported yet: render them to text with the"
                    .formatted(options.textColumn())
                + " model's chat template first");
      }
      String text = row.text(options.textColumn());
      if (options.target() == SftOptions.Target.COMPLETION) {
        throw new BadRowException(
            row.place(),
            "the row has no \"prompt\", which --completion_only_loss needs: add \"prompt\" and"
                + " \"completion\", or train on all of the text with --no_completion_only_loss");
      }
      return new Sample("", text, false);
    }

    @Override
    void accept(List<Sample> samples, long[] rows) {
      List<String> texts = new ArrayList<>(2 * samples.size());
      for (Sample sample : samples) {
        texts.add(sample.prompt());
        texts.add(sample.prompt() + endOfText.endingOf(sample.completion()));
      }
      List<int[]> ids = tokenizer.encodeAll(texts, AddSpecialTokens.YES, numThreads);
      for (int i = 0; i < samples.size(); i++) {
        accept(samples.get(i), ids.get(2 * i), ids.get(2 * i + 1), rows[i]);
      }
    }

    private void accept(Sample sample, int[] prompt, int[] whole, long row) {
      boolean imitatesPrompt =
          !sample.prompted() || options.target() == SftOptions.Target.EVERYTHING;
      int limit = options.maxLength();
      int from =
          options.truncationMode() == TruncationMode.KEEP_END
              ? Math.max(0, whole.length - limit)
              : 0;
      int to = from + Math.min(limit, whole.length);
      int split =
          imitatesPrompt ? from : Math.clamp(Math.min(prompt.length, whole.length), from, to);
      SftTokens tokens =
          new SftTokens(
              Arrays.copyOfRange(whole, from, split), Arrays.copyOfRange(whole, split, to), row);
      if (tokens.completion().length <= (split == from ? 1 : 0)) {
        tally.count(
            !imitatesPrompt && prompt.length >= to && prompt.length < whole.length
                ? Finding.PROMPT_TOO_LONG
                : Finding.NOTHING_TO_PREDICT);
        return;
      }
      tally.count(Finding.ROWS_KEPT);
      tally.countIf(sample.prompted() && prompt.length == 0, Finding.EMPTY_PROMPT);
      tally.countIf(PreferenceDataset.beginsTwice(whole, bos), Finding.DOUBLE_BOS);
      tally.countIf(sample.completion().isEmpty(), Finding.EMPTY_ANSWER);
      tally.countIf(!seen.add(sample), Finding.DUPLICATE);
      tally.countIf(
          sample.prompted() && PreferenceTokenizer.commonLength(prompt, whole) < prompt.length,
          Finding.MERGED_BOUNDARY);
      tally.countIf(to - from < whole.length, Finding.TRUNCATED);
      tally.countIf(
          endOfText.ends(whole) && !endOfText.ends(tokens.completion()), Finding.END_OF_TEXT_LOST);
      kept.add(tokens);
    }
  }
}
