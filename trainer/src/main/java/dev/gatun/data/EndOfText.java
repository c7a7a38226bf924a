package dev.gatun.data;

import dev.gatun.hf.SkipSpecialTokens;
import dev.gatun.hf.Tokenizer;
import java.nio.file.Path;
import java.util.OptionalInt;

/** The end-of-text token as text, which TRL appends to answers before it tokenizes them. */
record EndOfText(int id, String text) {
  static EndOfText of(Tokenizer tokenizer) {
    int id =
        tokenizer
            .eosTokenId()
            .orElseThrow(
                () ->
                    new DataException(
                        RowPlace.wholeFile(Path.of("tokenizer_config.json")),
                        "names no \"eos_token\", which every answer must end with: add it"));
    String text = tokenizer.decode(new int[] {id}, SkipSpecialTokens.NO);
    if (!tokenizer.idOf(text).equals(OptionalInt.of(id))) {
      throw new DataException(
          RowPlace.wholeFile(Path.of("tokenizer.json")),
          "writes its end-of-text token %d as \"%s\", which is another token: repair the tokenizer"
              .formatted(id, text));
    }
    return new EndOfText(id, text);
  }

  /** The answer, ending with this text; not twice if it already does. */
  String endingOf(String answer) {
    return answer.endsWith(text) ? answer : answer + text;
  }

  boolean ends(int[] answer) {
    return answer.length > 0 && answer[answer.length - 1] == id;
  }
}
