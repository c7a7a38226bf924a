package dev.gatun.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class DidYouMeanTest {
  private static final List<String> NAMES = List.of("beta", "learning_rate", "loss_type", "optim");

  @Test
  void findsSwapsOmissionsAndOtherSpellings() {
    assertEquals(Optional.of("beta"), DidYouMean.of("btea", NAMES));
    assertEquals(Optional.of("learning_rate"), DidYouMean.of("learnin_rat", NAMES));
    assertEquals(Optional.of("loss_type"), DidYouMean.of("Loss-Type", NAMES));
  }

  @Test
  void saysNothingWhenNothingIsNear() {
    assertEquals(Optional.empty(), DidYouMean.of("gamma_ray", NAMES));
    assertEquals("", DidYouMean.hint("gamma_ray", NAMES));
    assertEquals("; did you mean optim?", DidYouMean.hint("optm", NAMES));
  }

  @Test
  void countsASwapOfNeighboursAsOneEdit() {
    assertEquals(1, DidYouMean.distance("ab", "ba"));
    assertEquals(3, DidYouMean.distance("", "abc"));
    assertEquals(3, DidYouMean.distance("kitten", "sitting"));
    assertEquals(3, DidYouMean.distance("ca", "abc")); // 2 if parts could be edited twice
  }
}
