package dev.gatun.data;

/**
 * How preference rows become tokens.
 *
 * @param maxLength longest sequence (prompt and one answer) in tokens, at least 2; {@link
 *     #UNLIMITED} truncates nothing
 */
public record PairOptions(
    ImplicitPrompt implicitPrompt,
    PromptBoundary promptBoundary,
    int maxLength,
    TruncationMode truncationMode) {
  /** A {@code maxLength} that nothing reaches. */
  public static final int UNLIMITED = Integer.MAX_VALUE;

  public PairOptions {
    if (maxLength < 2) {
      throw new IllegalArgumentException("maxLength is " + maxLength + ", expected at least 2");
    }
  }

  /** Sequences of up to {@code maxLength} tokens; where there is a choice, Gatun's default. */
  public static PairOptions ofLength(int maxLength, TruncationMode truncationMode) {
    return new PairOptions(ImplicitPrompt.WORDS, PromptBoundary.TRL, maxLength, truncationMode);
  }
}
