package dev.gatun.data;

/**
 * How SFT rows become tokens.
 *
 * @param textColumn of rows without a prompt
 * @param target which tokens are imitated
 * @param maxLength longest sequence in tokens, at least 2; {@link PairOptions#UNLIMITED} truncates
 *     nothing
 */
public record SftOptions(
    String textColumn, Target target, int maxLength, TruncationMode truncationMode) {

  /** Which tokens are imitated. */
  public enum Target {
    /** The completion of rows that have a prompt, all of the text of those that have none. */
    COMPLETION_IF_PROMPTED,
    /** The completion; a row without a prompt is a bad row. */
    COMPLETION,
    /** The prompt too. */
    EVERYTHING
  }

  public SftOptions {
    if (maxLength < 2) {
      throw new IllegalArgumentException("maxLength is " + maxLength + ", expected at least 2");
    }
  }
}
