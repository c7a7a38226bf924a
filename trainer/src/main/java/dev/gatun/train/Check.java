package dev.gatun.train;

/** Checks of single values, with the sentences that their errors share. */
final class Check {
  private Check() {}

  static void positive(String option, double value) {
    that(option, value > 0 && Double.isFinite(value), value, "a number above 0");
  }

  static void notNegative(String option, double value) {
    that(option, value >= 0 && Double.isFinite(value), value, "a number of 0 or above");
  }

  /** {@code from <= value < below}. */
  static void within(String option, double value, double from, double below) {
    that(
        option,
        value >= from && value < below,
        value,
        "at least %s and below %s".formatted(plain(from), plain(below)));
  }

  static void that(String option, boolean holds, Object got, String expected) {
    if (!holds) {
      Object shown = got instanceof Double number ? plain(number) : got;
      throw new ConfigException(option, "got %s, expected %s".formatted(shown, expected));
    }
  }

  /**
   * Refuses an option that was changed from its default but that nothing in this run would read.
   *
   * @param remedy what to change so that the option acts, or that it must be removed
   */
  static void acts(String option, boolean changed, boolean read, String remedy) {
    if (changed && !read) {
      throw new ConfigException(option, "has no effect here: " + remedy);
    }
  }

  private static String plain(double value) {
    return value == Math.rint(value) && Math.abs(value) < 1e15
        ? Long.toString((long) value)
        : Double.toString(value);
  }
}
