package dev.gatun.data;

/**
 * One preference as token ids. The arrays are not copied: do not write to them.
 *
 * @param prompt with the special tokens that the tokenizer puts first; empty only if the text is
 *     empty and there are none
 * @param chosen ends with end-of-text, unless truncated
 * @param rejected ends with end-of-text, unless truncated
 * @param row 1-based number of the row among all rows read
 */
@SuppressWarnings("ArrayRecordComponent") // A copy per access would double the memory of a step.
public record PairTokens(int[] prompt, int[] chosen, int[] rejected, long row) {

  /** Tokens that a step computes: the prompt once. */
  public int length() {
    return prompt.length + chosen.length + rejected.length;
  }

  /** Answer tokens that are predicted: without a prompt nothing predicts an answer's first. */
  boolean predictsBothAnswers() {
    int first = prompt.length == 0 ? 1 : 0;
    return chosen.length > first && rejected.length > first;
  }
}
