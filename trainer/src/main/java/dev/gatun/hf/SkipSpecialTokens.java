package dev.gatun.hf;

/** Whether decoding leaves special tokens, as {@code <|eot_id|>}, out of the text. */
public enum SkipSpecialTokens {
  YES,
  NO
}
