package dev.gatun.hf;

/** Whether encoding adds the tokens that the tokenizer puts around every text, as {@code <s>}. */
public enum AddSpecialTokens {
  YES,
  NO
}
