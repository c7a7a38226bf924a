package dev.gatun.data;

/**
 * One text to imitate as token ids. The arrays are not copied: do not write to them.
 *
 * @param prompt context only; empty where every token is to be imitated, of which the first is then
 *     not predicted
 * @param completion predicted; ends with end-of-text, unless truncated
 * @param row 1-based number of the row among all rows read
 */
@SuppressWarnings("ArrayRecordComponent") // As PairTokens.
public record SftTokens(int[] prompt, int[] completion, long row) {

  /** Tokens that a step computes. */
  public int length() {
    return prompt.length + completion.length;
  }
}
