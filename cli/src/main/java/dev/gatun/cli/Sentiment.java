package dev.gatun.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * The known sentiment of the demo's reviews, which plays the part of the people who prefer.
 *
 * <p>A text's score is {@code (P - N) / (P + N)}: P and N are the summed weights of its positive
 * and negative words, 2 for strong words and 1 for the others. It is in [-1, 1], and 0 where a text
 * has no such word. A text is positive if its score is above 0.
 */
final class Sentiment {
  static final List<String> POSITIVE_ADJECTIVES =
      List.of("superb", "brilliant", "wonderful", "good", "charming", "clever", "warm", "touching");
  static final List<String> NEGATIVE_ADJECTIVES =
      List.of("awful", "terrible", "dreadful", "dull", "clumsy", "weak", "tired", "cold");
  static final List<String> POSITIVE_VERBS = List.of("loved", "enjoyed");
  static final List<String> NEGATIVE_VERBS = List.of("hated", "disliked");

  private static final List<String> STRONG =
      List.of(
          "superb", "brilliant", "wonderful", "loved", "awful", "terrible", "dreadful", "hated");
  private static final Map<String, Integer> WEIGHTS = weights();
  private static final Pattern WORD = Pattern.compile("\\p{L}+");

  private Sentiment() {}

  private static Map<String, Integer> weights() {
    Map<String, Integer> weights = new LinkedHashMap<>();
    POSITIVE_ADJECTIVES.forEach(word -> weights.put(word, 1));
    POSITIVE_VERBS.forEach(word -> weights.put(word, 1));
    NEGATIVE_ADJECTIVES.forEach(word -> weights.put(word, -1));
    NEGATIVE_VERBS.forEach(word -> weights.put(word, -1));
    STRONG.forEach(word -> weights.computeIfPresent(word, (_, weight) -> 2 * weight));
    return Map.copyOf(weights);
  }

  static double score(String text) {
    int sum = 0;
    int size = 0;
    for (String word : WORD.matcher(text).results().map(MatchResult::group).toList()) {
      int weight = WEIGHTS.getOrDefault(word, 0);
      sum += weight;
      size += Math.abs(weight);
    }
    return size == 0 ? 0 : (double) sum / size;
  }
}
