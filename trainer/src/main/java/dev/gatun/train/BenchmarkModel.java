package dev.gatun.train;

import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelConfig.Family;
import dev.gatun.report.DidYouMean;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** The model that a benchmark trains: one that is there, or a shape that it fills at random. */
public sealed interface BenchmarkModel {
  /** Its weights, or how to make them. */
  StartModel open(long seed);

  /** As users named it. */
  String title();

  /** A model directory. */
  record Directory(Path path) implements BenchmarkModel {
    @Override
    public StartModel open(long seed) {
      return TrainingSetup.Source.open(path);
    }

    @Override
    public String title() {
      return path.toString();
    }
  }

  /**
   * A shape; no file is read or written.
   *
   * @param title as users named it
   */
  record Shape(String title, ModelConfig config) implements BenchmarkModel {
    /** family:hidden,layers,heads,key-value heads,intermediate,vocabulary; perhaps head size. */
    private static final Pattern SIZES =
        Pattern.compile("([a-z0-9]+):(\\d{1,7}(?:,\\d{1,7}){5,6})");

    private static final String FORM =
        "FAMILY:hidden,layers,heads,kv_heads,intermediate,vocabulary[,head_dim]";
    private static final int MAX_POSITIONS = 131_072;

    /** Which are weights, so that no more are made than a model has. */
    private static final int GPT2_POSITIONS = 1024;

    private static final double ROPE_THETA = 10_000;

    /**
     * A preset's name, or sizes.
     *
     * @param option that it is the value of, for the message
     */
    public static Shape of(String option, String text) {
      Matcher matcher = SIZES.matcher(text);
      if (!matcher.matches()) {
        return named(option, text);
      }
      Family family = family(option, matcher.group(1));
      int[] sizes =
          Arrays.stream(matcher.group(2).split(",", -1)).mapToInt(Integer::parseInt).toArray();
      Integer headDim = sizes.length > 6 ? Integer.valueOf(sizes[6]) : null;
      NewModel model =
          new NewModel(
              family,
              sizes[0],
              sizes[4],
              sizes[1],
              sizes[2],
              sizes[3],
              headDim,
              family == Family.GPT2 ? GPT2_POSITIONS : MAX_POSITIONS,
              ROPE_THETA,
              true);
      Check.that(option, sizes[5] >= 1, text, "a vocabulary of at least 1");
      return new Shape(
          text,
          ModelConfig.parse(
              model.config(sizes[5], OptionalInt.empty(), OptionalInt.empty(), OptionalInt.empty()),
              Path.of(text)));
    }

    private static Shape named(String option, String text) {
      List<String> names = ModelPreset.names();
      if (!names.contains(text)) {
        throw new ConfigException(
            option,
            "got %s, expected %s or one of %s%s"
                .formatted(text, FORM, String.join(", ", names), DidYouMean.hint(text, names)));
      }
      return new Shape(text, ModelPreset.of(option, text).config());
    }

    private static Family family(String option, String name) {
      for (Family family : Family.values()) {
        if (family.modelType().equals(name)) {
          return family;
        }
      }
      throw new ConfigException(
          option,
          "got family %s, expected one of %s"
              .formatted(
                  name,
                  Arrays.stream(Family.values())
                      .map(Family::modelType)
                      .collect(Collectors.joining(", "))));
    }

    @Override
    public StartModel open(long seed) {
      return new RandomModel(config, seed);
    }
  }
}
