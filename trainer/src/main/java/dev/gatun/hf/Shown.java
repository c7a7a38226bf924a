package dev.gatun.hf;

/** Foreign text as messages show it: quoted, on one line, shortened. */
final class Shown {
  private static final int MAX_CHARACTERS = 100;

  private Shown() {}

  static String quoted(String foreign) {
    return '"' + line(foreign) + '"';
  }

  static String line(String foreign) {
    StringBuilder shown = new StringBuilder();
    foreign
        .codePoints()
        .limit(MAX_CHARACTERS)
        .forEach(
            character -> {
              if (isPrintable(character)) {
                shown.appendCodePoint(character);
              } else {
                shown.append("\\u%04x".formatted(character));
              }
            });
    return foreign.codePoints().skip(MAX_CHARACTERS).findAny().isPresent()
        ? shown.append("...").toString()
        : shown.toString();
  }

  private static boolean isPrintable(int character) {
    return switch (Character.getType(character)) {
      case Character.CONTROL,
          Character.FORMAT,
          Character.SURROGATE,
          Character.LINE_SEPARATOR,
          Character.PARAGRAPH_SEPARATOR,
          Character.UNASSIGNED ->
          false;
      default -> true;
    };
  }
}
