package dev.gatun.data;

import dev.gatun.hf.AddSpecialTokens;
import dev.gatun.hf.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Turns preferences into token ids as TRL's DPOTrainer does (1.13, {@code _prepare_dataset} and
 * {@code DataCollatorForPreference}): end-of-text is appended to an answer as text unless it ends
 * with it; prompt, prompt + chosen and prompt + rejected are tokenized with the tokenizer's own
 * special tokens; an answer is what follows the prompt's tokens.
 */
final class PreferenceTokenizer {
  private final Tokenizer tokenizer;
  private final PairOptions options;
  private final EndOfText endOfText;
  private final int numThreads;

  /** A pair before truncation, and whether a token spans the end of its prompt. */
  record Encoded(PairTokens pair, boolean mergedBoundary) {}

  /** What truncation makes of a pair. */
  sealed interface Fit {}

  /** A pair that fits. */
  record Kept(PairTokens pair, boolean truncated, boolean endOfTextLost) implements Fit {}

  /** A pair that cannot be trained on. */
  record Dropped(Finding why) implements Fit {}

  PreferenceTokenizer(Tokenizer tokenizer, PairOptions options, int numThreads) {
    this.tokenizer = tokenizer;
    this.options = options;
    this.endOfText = EndOfText.of(tokenizer);
    this.numThreads = numThreads;
  }

  /**
   * Tokenizes preferences, in order.
   *
   * @param rows number of each preference's row
   */
  List<Encoded> encode(List<Preference> preferences, long[] rows) {
    List<String> texts = new ArrayList<>(3 * preferences.size());
    for (Preference preference : preferences) {
      texts.add(preference.prompt());
      texts.add(preference.prompt() + endOfText.endingOf(preference.chosen()));
      texts.add(preference.prompt() + endOfText.endingOf(preference.rejected()));
    }
    List<int[]> ids = tokenizer.encodeAll(texts, AddSpecialTokens.YES, numThreads);
    List<Encoded> encoded = new ArrayList<>(preferences.size());
    for (int i = 0; i < preferences.size(); i++) {
      encoded.add(split(ids.get(3 * i), ids.get(3 * i + 1), ids.get(3 * i + 2), rows[i]));
    }
    return encoded;
  }

  private Encoded split(int[] prompt, int[] chosen, int[] rejected, long row) {
    int common = Math.min(commonLength(prompt, chosen), commonLength(prompt, rejected));
    boolean merged = common < prompt.length;
    int[] context =
        merged && options.promptBoundary() == PromptBoundary.EXACT
            ? Arrays.copyOf(prompt, common)
            : prompt;
    PairTokens pair =
        new PairTokens(
            context, behind(chosen, context.length), behind(rejected, context.length), row);
    return new Encoded(pair, merged);
  }

  /** {@code ids[from:]} as Python means it: empty where {@code ids} is shorter. */
  static int[] behind(int[] ids, int from) {
    return Arrays.copyOfRange(ids, Math.min(from, ids.length), ids.length);
  }

  static int commonLength(int[] a, int[] b) {
    int mismatch = Arrays.mismatch(a, b);
    return mismatch < 0 ? a.length : mismatch;
  }

  /** Truncates a pair to the longest sequence allowed, or drops it. */
  Fit fit(PairTokens pair) {
    int limit = options.maxLength();
    int[] prompt = pair.prompt();
    if (options.truncationMode() == TruncationMode.KEEP_START && prompt.length >= limit) {
      return new Dropped(Finding.PROMPT_TOO_LONG);
    }
    PairTokens fitted =
        switch (options.truncationMode()) {
          case KEEP_START -> {
            int room = limit - prompt.length;
            yield new PairTokens(
                prompt, first(pair.chosen(), room), first(pair.rejected(), room), pair.row());
          }
          case KEEP_END -> {
            long longest =
                (long) prompt.length + Math.max(pair.chosen().length, pair.rejected().length);
            int excess = Math.clamp(longest - limit, 0, prompt.length);
            yield new PairTokens(
                behind(prompt, excess),
                last(pair.chosen(), limit),
                last(pair.rejected(), limit),
                pair.row());
          }
        };
    if (!fitted.predictsBothAnswers()) {
      return new Dropped(Finding.NOTHING_TO_PREDICT);
    }
    boolean endLost =
        (endOfText.ends(pair.chosen()) && !endOfText.ends(fitted.chosen()))
            || (endOfText.ends(pair.rejected()) && !endOfText.ends(fitted.rejected()));
    return new Kept(fitted, fitted.length() < pair.length(), endLost);
  }

  private static int[] first(int[] ids, int most) {
    return ids.length <= most ? ids : Arrays.copyOf(ids, most);
  }

  private static int[] last(int[] ids, int most) {
    return ids.length <= most ? ids : behind(ids, ids.length - most);
  }
}
