package dev.gatun.cli;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;

/**
 * Writes short reviews of films: a neutral prompt that says what was seen, and three sentences
 * about it. A reviewer is pleased, displeased or of two minds, with the same probability, so that
 * about as many reviews are positive as negative.
 */
final class ReviewGrammar {
  private static final List<String> OPENINGS =
      List.of(
          "Last night I watched",
          "On Sunday we watched",
          "Yesterday my sister chose",
          "My brother asked me to see",
          "At the festival they showed",
          "On the train I watched",
          "A friend told us about",
          "This week I finally saw",
          "Our teacher showed us",
          "I had a ticket for");
  private static final List<String> GENRES =
      List.of(
          "comedy",
          "western",
          "thriller",
          "drama",
          "musical",
          "mystery",
          "romance",
          "documentary",
          "war film",
          "ghost story");
  private static final List<String> SUBJECTS =
      List.of(
          "two brothers",
          "a lost dog",
          "an old painter",
          "a bank robbery",
          "a school choir",
          "three doctors",
          "a young queen",
          "a night train",
          "a small bakery",
          "a missing letter",
          "two rivals",
          "a football team",
          "a retired spy",
          "a haunted house",
          "a long winter",
          "a chess player");
  private static final List<String> PLACES =
      List.of("Lisbon", "Dublin", "Chicago", "Tokyo", "Vienna", "Cairo", "Panama", "Oslo");
  private static final List<String> ASPECTS =
      List.of(
          "plot",
          "acting",
          "music",
          "ending",
          "script",
          "camera work",
          "cast",
          "dialogue",
          "pacing",
          "opening");
  private static final List<String> NEUTRAL_ADJECTIVES =
      List.of("long", "loud", "quiet", "simple", "modern", "familiar", "unusual", "short");
  private static final List<String> NEUTRAL_VERBS = List.of("remember", "noticed");
  private static final List<String> FACTS =
      List.of(
          "It lasts two hours.",
          "It is in black and white.",
          "It is the first part of three.",
          "It has no narrator.",
          "It was made in one summer.");
  private static final double NEUTRAL_SHARE = 0.25;

  /** Probability that an opinion is positive, for the three kinds of reviewers. */
  private static final double[] MOODS = {0.12, 0.5, 0.88};

  private final RandomGenerator random;

  ReviewGrammar(long seed) {
    this.random = new SplittableRandom(seed);
  }

  /** All prompts that the grammar has, in random order; 12,800 of them. */
  List<String> prompts() {
    List<String> prompts = new ArrayList<>();
    for (String opening : OPENINGS) {
      for (String genre : GENRES) {
        for (String subject : SUBJECTS) {
          for (String place : PLACES) {
            prompts.add("%s a %s about %s in %s.".formatted(opening, genre, subject, place));
          }
        }
      }
    }
    for (int i = prompts.size() - 1; i > 0; i--) {
      Collections.swap(prompts, i, random.nextInt(i + 1));
    }
    return prompts;
  }

  /** What follows a prompt, with the leading space. */
  String completion() {
    double mood = MOODS[random.nextInt(MOODS.length)];
    StringBuilder text = new StringBuilder();
    for (int sentence = 0; sentence < 3; sentence++) {
      text.append(' ').append(sentence(mood));
    }
    return text.toString();
  }

  private String sentence(double mood) {
    String aspect = pick(ASPECTS);
    return switch (random.nextInt(6)) {
      case 0 -> pick(FACTS);
      case 1 ->
          "I %s the %s."
              .formatted(
                  word(mood, Sentiment.POSITIVE_VERBS, Sentiment.NEGATIVE_VERBS, NEUTRAL_VERBS),
                  aspect);
      case 2, 3 ->
          "The %s is %s and the %s is %s."
              .formatted(aspect, adjective(mood), other(aspect), adjective(mood));
      default -> "The %s is %s.".formatted(aspect, adjective(mood));
    };
  }

  private String other(String aspect) {
    int distance = 1 + random.nextInt(ASPECTS.size() - 1);
    return ASPECTS.get((ASPECTS.indexOf(aspect) + distance) % ASPECTS.size());
  }

  private String adjective(double mood) {
    return word(
        mood, Sentiment.POSITIVE_ADJECTIVES, Sentiment.NEGATIVE_ADJECTIVES, NEUTRAL_ADJECTIVES);
  }

  private String word(
      double mood, List<String> positive, List<String> negative, List<String> neutral) {
    if (random.nextDouble() < NEUTRAL_SHARE) {
      return pick(neutral);
    }
    return pick(random.nextDouble() < mood ? positive : negative);
  }

  private String pick(List<String> words) {
    return words.get(random.nextInt(words.size()));
  }
}
