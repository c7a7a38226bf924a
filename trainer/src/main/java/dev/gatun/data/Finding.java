package dev.gatun.data;

/** What is counted while rows are read, tokenized and truncated. */
public enum Finding {
  ROWS_READ("rows read"),
  ROWS_KEPT("rows kept"),
  BAD_ROW("dropped: cannot be used"),
  PROMPT_TOO_LONG("dropped: the prompt alone reaches max_length"),
  NOTHING_TO_PREDICT("dropped: an answer has no token to predict"),
  IMPLICIT_PROMPT("prompt taken from the common beginning"),
  EMPTY_PROMPT("prompt without a token (the first token of each answer is not predicted)"),
  DOUBLE_BOS("prompt begins with two begin-of-text tokens"),
  EMPTY_ANSWER("an answer is empty"),
  IDENTICAL_ANSWERS("chosen and rejected are identical (nothing to prefer)"),
  DUPLICATE("repeats an earlier row"),
  CONTRADICTION("prefers the opposite of an earlier row"),
  MERGED_BOUNDARY("tokens merge across the end of the prompt"),
  TRUNCATED("truncated to max_length"),
  END_OF_TEXT_LOST("an answer lost its end-of-text token");

  private final String words;

  Finding(String words) {
    this.words = words;
  }

  /** For people. */
  String words() {
    return words;
  }
}
