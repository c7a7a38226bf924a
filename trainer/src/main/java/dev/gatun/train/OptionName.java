package dev.gatun.train;

import dev.gatun.report.DidYouMean;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** The values of an option as users spell them: an enum constant's name in lower case. */
final class OptionName {
  private OptionName() {}

  static String of(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  /**
   * The constant that users spell {@code name}.
   *
   * @throws ConfigException naming {@code option}, the values there are and the one probably meant
   */
  static <E extends Enum<E>> E parse(Class<E> type, String option, String name) {
    for (E constant : type.getEnumConstants()) {
      if (of(constant).equals(name)) {
        return constant;
      }
    }
    List<String> known = Arrays.stream(type.getEnumConstants()).map(OptionName::of).toList();
    throw new ConfigException(
        option,
        "got %s, expected one of %s%s"
            .formatted(name, String.join(", ", known), DidYouMean.hint(name, known)));
  }
}
