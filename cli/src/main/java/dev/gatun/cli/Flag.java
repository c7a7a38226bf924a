package dev.gatun.cli;

import dev.gatun.report.DidYouMean;
import dev.gatun.train.ConfigException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;

/**
 * One option of a command, on the command line and in a configuration file.
 *
 * @param name in snake case, without dashes
 * @param group heading under which help shows it
 * @param arity how many values it takes
 * @param label what a value is, for help
 * @param description one sentence, for help and docs
 * @param setter files the values into a configuration's builder
 * @param <B> the builder
 */
record Flag<B>(
    String name,
    Group group,
    Arity arity,
    String label,
    String description,
    BiConsumer<B, List<String>> setter) {
  /** Headings of the help. */
  enum Group {
    MODEL("Model"),
    DATA("Data"),
    LOSS("Loss and reference"),
    OPTIMIZER("Optimizer and schedule"),
    RUN("Run and output"),
    DEVICE("Device and memory");

    private final String heading;

    Group(String heading) {
      this.heading = heading;
    }

    String heading() {
      return heading;
    }
  }

  /** How many values an option takes. */
  enum Arity {
    /** None, or one of true and false. */
    TOGGLE("0..1"),
    ONE("1"),
    /** One; {@code none} (in a file {@code null}) is the absence of any. */
    OPTIONAL("1"),
    LIST("1..*");

    private final String range;

    Arity(String range) {
      this.range = range;
    }

    String range() {
      return range;
    }
  }

  /** Reads the text of a single value. */
  @FunctionalInterface
  interface Parser<T> {
    T parse(String name, String text);
  }

  static <B> Flag<B> toggle(String name, Group group, String description, Consumer<B> enable) {
    return new Flag<>(
        name,
        group,
        Arity.TOGGLE,
        "true|false",
        description,
        (builder, values) -> {
          if (bool(name, only(name, values))) {
            enable.accept(builder);
          }
        });
  }

  /** Where saying no is something else than saying nothing, which {@code none} does too. */
  static <B> Flag<B> either(
      String name, Group group, String description, Consumer<B> enable, Consumer<B> disable) {
    return new Flag<>(
        name,
        group,
        Arity.TOGGLE,
        "true|false",
        description,
        (builder, values) -> {
          String text = only(name, values);
          if (!isNone(text)) {
            (bool(name, text) ? enable : disable).accept(builder);
          }
        });
  }

  static <B, T> Flag<B> one(
      String name,
      Group group,
      String label,
      String description,
      Parser<T> parser,
      BiConsumer<B, T> setter) {
    return new Flag<>(
        name,
        group,
        Arity.ONE,
        label,
        description,
        (builder, values) -> setter.accept(builder, parser.parse(name, only(name, values))));
  }

  /** {@code none} leaves the builder's default, which is none too. */
  static <B, T> Flag<B> optional(
      String name,
      Group group,
      String label,
      String description,
      Parser<T> parser,
      BiConsumer<B, T> setter) {
    return new Flag<>(
        name,
        group,
        Arity.OPTIONAL,
        label,
        description,
        (builder, values) -> {
          String text = only(name, values);
          if (!isNone(text)) {
            setter.accept(builder, parser.parse(name, text));
          }
        });
  }

  static <B, T> Flag<B> list(
      String name,
      Group group,
      String label,
      String description,
      Parser<T> parser,
      BiConsumer<B, List<T>> setter) {
    return new Flag<>(
        name,
        group,
        Arity.LIST,
        label,
        description,
        (builder, values) -> {
          if (values.size() != 1 || !isNone(values.getFirst())) {
            setter.accept(builder, values.stream().map(text -> parser.parse(name, text)).toList());
          }
        });
  }

  /** The same option, filed into a part of what {@code C} holds. */
  <C> Flag<C> of(Function<C, B> part) {
    return new Flag<>(
        name,
        group,
        arity,
        label,
        description,
        (whole, values) -> setter.accept(part.apply(whole), values));
  }

  void set(B builder, List<String> values) {
    setter.accept(builder, values);
  }

  static Path path(String name, String text) {
    try {
      return Path.of(text);
    } catch (InvalidPathException e) {
      throw new ConfigException(name, "got %s, expected a path".formatted(text));
    }
  }

  static double number(String name, String text) {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw new ConfigException(name, "got %s, expected a number".formatted(text));
    }
  }

  static int integer(String name, String text) {
    try {
      return Integer.parseInt(text);
    } catch (NumberFormatException e) {
      throw new ConfigException(name, "got %s, expected a whole number".formatted(text));
    }
  }

  static long longInteger(String name, String text) {
    try {
      return Long.parseLong(text);
    } catch (NumberFormatException e) {
      throw new ConfigException(name, "got %s, expected a whole number".formatted(text));
    }
  }

  static String text(String name, String text) {
    return text;
  }

  static boolean bool(String name, String text) {
    return switch (text.toLowerCase(Locale.ROOT)) {
      case "true", "yes", "1" -> true;
      case "false", "no", "0" -> false;
      default -> throw new ConfigException(name, "got %s, expected true or false".formatted(text));
    };
  }

  /** A parser of an enum's constants, spelled as {@link Object#toString} spells them. */
  static <E extends Enum<E>> Parser<E> choice(Class<E> type) {
    return (name, text) -> {
      for (E constant : type.getEnumConstants()) {
        if (constant.toString().equals(text)) {
          return constant;
        }
      }
      List<String> known = Arrays.stream(type.getEnumConstants()).map(Enum::toString).toList();
      throw new ConfigException(
          name,
          "got %s, expected one of %s%s"
              .formatted(text, String.join(", ", known), DidYouMean.hint(text, known)));
    };
  }

  /** A parser that needs no name, because its own errors have it. */
  static <T> Parser<T> named(Function<String, T> fromName) {
    return (name, text) -> fromName.apply(text);
  }

  static boolean isNone(String text) {
    return text.equalsIgnoreCase("none") || text.equalsIgnoreCase("null");
  }

  static String only(String name, List<String> values) {
    if (values.size() != 1) {
      throw new ConfigException(
          name,
          values.isEmpty()
              ? "got no value, expected one"
              : "got %s, expected one value".formatted(String.join(" ", values)));
    }
    return values.getFirst();
  }
}
