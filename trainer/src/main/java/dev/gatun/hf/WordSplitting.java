package dev.gatun.hf;

import java.text.Normalizer;
import java.util.regex.Pattern;

/** How a text falls into words before byte-pair merges; no merge crosses a word's end. */
public enum WordSplitting {
  /** GPT-2: contractions, letters, numbers, others, each with the space before it. */
  GPT2("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),

  /** Llama 3: numbers in groups of at most three digits, line ends on their own. */
  LLAMA3(llama3("{1,3}")),

  /** Qwen2: as Llama 3, with every digit on its own, and composed characters (NFC). */
  QWEN2(llama3(""));

  private final String regex;
  private final Pattern pattern;

  WordSplitting(String regex) {
    this.regex = regex;
    this.pattern = Pattern.compile(regex, Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNICODE_CASE);
  }

  private static String llama3(String digits) {
    return "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
        + digits
        + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
  }

  /** The expression as tokenizer.json has it (Oniguruma and Java read it alike). */
  String regex() {
    return regex;
  }

  Pattern pattern() {
    return pattern;
  }

  /** The text that is split: Qwen2's is in Unicode's normal form C, the others' is as written. */
  String normalize(String text) {
    return this == QWEN2 ? Normalizer.normalize(text, Normalizer.Form.NFC) : text;
  }
}
