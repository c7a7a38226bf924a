package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.data.JsonRow.Column;
import dev.gatun.data.JsonRow.Kind;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class PreferenceTest {

  /**
   * Bars mark the split. TRL's are what its extract_prompt returns (1.13), except where it fails or
   * wraps: those rows are commented.
   */
  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      ignoreLeadingAndTrailingWhitespace = false,
      quoteCharacter = '\0',
      value = {
        // chosen;rejected;prompt by words;prompt by TRL
        "The same start, then A is better.;The same start, then B.;The same start, then;"
            + "The same start, then",
        "x;y;;",
        "Say yes now;Say yes;Say;Say ye",
        "Q? A: unhappy;Q? A: unhelpful;Q? A:;Q? A: unh",
        "same text;same text;same;same tex",
        "same;same;;sam",
        "same.;same.;same;same",
        "a  b;a  c;a ;a ",
        "go;no;;", // fine in TRL only because chosen does not end in a space
        "go ;no;;", // TRL: index -1 wraps, prompt "go", rejected loses "n"
        "naïve;naïf;;naï",
        "e\u0301x e\u0301;e\u0301x e;e\u0301x;e\u0301x ",
        "🙂🙃;🙂🙁;🙂;🙂", // the last two share their high surrogate
        "我们去;我们来;我们;我们",
        "Q: 我们去;Q: 我们来;Q: 我们;Q: 我们",
        "don't;don;;do"
      })
  void implicitPrompts(String chosen, String rejected, String words, String trl) {
    String byWords = words == null ? "" : words;
    String byTrl = trl == null ? "" : trl;
    for (ImplicitPrompt rule : ImplicitPrompt.values()) {
      String prompt = rule == ImplicitPrompt.WORDS ? byWords : byTrl;
      Preference found =
          Preference.of(row(text("chosen", chosen), text("rejected", rejected)), rule);
      assertEquals(
          new Preference(
              prompt, chosen.substring(prompt.length()), rejected.substring(prompt.length())),
          found,
          rule.toString());
    }
  }

  @Test
  void anyTwoTextsSplitIntoWholeCodePointsAndAnswers() {
    long seed = 11;
    Random random = new Random(seed);
    String[] alphabet = {"a", "b", " ", "é", "e\u0301", "🙂", "🙃", "我", ".", "\n", "1"};
    for (int i = 0; i < 20_000; i++) {
      String start = text(alphabet, random, 6);
      String chosen = start + text(alphabet, random, 4);
      String rejected = start + text(alphabet, random, 4);
      if (chosen.isEmpty() || rejected.isEmpty()) {
        continue;
      }
      for (ImplicitPrompt rule : ImplicitPrompt.values()) {
        int split = rule.split(chosen, rejected);
        String where = "seed %d: %s|%s|%d".formatted(seed, chosen, rejected, split);
        assertTrue(split < chosen.length() && split < rejected.length(), where);
        assertEquals(chosen.substring(0, split), rejected.substring(0, split), where);
        assertTrue(!Character.isLowSurrogate(chosen.charAt(split)), where);
        assertTrue(!Character.isLowSurrogate(rejected.charAt(split)), where);
      }
    }
  }

  private static String text(String[] alphabet, Random random, int most) {
    StringBuilder text = new StringBuilder();
    for (int n = random.nextInt(most + 1); n > 0; n--) {
      text.append(alphabet[random.nextInt(alphabet.length)]);
    }
    return text.toString();
  }

  @Test
  void anExplicitPromptIsTakenAsItIs() {
    assertEquals(
        new Preference("p", "same a", ""),
        Preference.of(
            row(
                text("rejected", ""),
                text("x", "?"),
                text("chosen", "same a"),
                text("prompt", "p")),
            ImplicitPrompt.WORDS));
  }

  @Test
  void refusesWhatIsNoPreference() {
    refuses("has no \"chosen\", expected text; its columns are \"a\"", text("a", "x"));
    refuses("its columns are none");
    refuses("has no \"rejected\"", text("chosen", "x"));
    refuses("\"chosen\" is null", of("chosen", Kind.NULL), text("rejected", "x"));
    refuses("\"rejected\" is a number", text("chosen", "x"), of("rejected", Kind.NUMBER));
    refuses(
        "\"prompt\" is null", of("prompt", Kind.NULL), text("chosen", "x"), text("rejected", "y"));
    refuses(
        "conversations are not supported yet", of("chosen", Kind.LIST), of("rejected", Kind.LIST));
    refuses(
        "conversations are not supported yet",
        of("prompt", Kind.LIST),
        text("chosen", "x"),
        text("rejected", "y"));
    refuses("\"messages\" (a conversation)", of("messages", Kind.LIST));
    refuses(
        "\"rejected\" is empty and there is no \"prompt\"",
        text("chosen", "x"),
        text("rejected", ""));
  }

  @ParameterizedTest
  @ValueSource(strings = {"\ud83d", "a\udc00", "\ud83d\ud83d\ude42", "\ude42\ud83d"})
  void refusesHalfSurrogatePairs(String text) {
    refuses("half a surrogate pair", text("chosen", text), text("rejected", "x"));
  }

  private static void refuses(String message, Column... columns) {
    BadRowException e =
        assertThrows(
            BadRowException.class, () -> Preference.of(row(columns), ImplicitPrompt.WORDS));
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertTrue(e.getMessage().startsWith("train.jsonl:17 (byte 90): "), e.getMessage());
    assertEquals(1, e.getMessage().lines().count());
  }

  private static JsonRow row(Column... columns) {
    return new JsonRow(new RowPlace(Path.of("train.jsonl"), 17, 90), List.of(columns));
  }

  private static Column text(String name, String text) {
    return new Column(name, Kind.TEXT, text);
  }

  private static Column of(String name, Kind kind) {
    return new Column(name, kind, null);
  }
}
