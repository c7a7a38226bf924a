package dev.gatun.data;

import java.util.Locale;

/**
 * Which tokens a row trains on where the tokenizer merges the end of the prompt with the beginning
 * of an answer, so that the tokens of the prompt alone do not begin those of the whole text. Where
 * nothing merges, both rules give the same tokens.
 */
public enum PromptBoundary {
  /**
   * The tokens of the prompt alone, then those of the whole text behind as many: TRL's rule, which
   * repeats or loses characters at the boundary of such a row.
   */
  TRL,
  /**
   * The tokens of the whole text, the prompt ending where one answer's first leave the prompt's.
   */
  EXACT;

  /** The name as users spell it. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
