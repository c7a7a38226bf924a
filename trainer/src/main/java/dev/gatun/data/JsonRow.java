package dev.gatun.data;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One JSON object of a data file: its columns, in file order, names unique.
 *
 * @param place of the object's first byte
 */
public record JsonRow(RowPlace place, List<Column> columns) {

  /** What JSON calls the value of a column. */
  public enum Kind {
    TEXT("text"),
    NUMBER("a number"),
    BOOLEAN("true or false"),
    NULL("null"),
    LIST("a list"),
    OBJECT("an object");

    private final String words;

    Kind(String words) {
      this.words = words;
    }

    String words() {
      return words;
    }
  }

  /**
   * A named value.
   *
   * @param text the value where {@code kind} is {@link Kind#TEXT}; other values are not kept
   */
  public record Column(String name, Kind kind, @Nullable String text) {}

  public JsonRow {
    columns = List.copyOf(columns);
  }

  boolean has(String name) {
    return find(name) != null;
  }

  @Nullable Column find(String name) {
    for (Column column : columns) {
      if (column.name().equals(name)) {
        return column;
      }
    }
    return null;
  }

  /**
   * The text of a column.
   *
   * @throws BadRowException where the column is absent, is no text, or holds half a surrogate pair
   */
  public String text(String name) {
    Column column = find(name);
    if (column == null) {
      throw new BadRowException(
          place, "the row has no \"" + name + "\", expected text; its columns are " + names());
    }
    if (column.kind() == Kind.LIST) {
      throw new BadRowException(
          place,
          "\""
              + name
              + "\" is a list (a conversation), expected text; conversations are not supported yet:"
              + " render them to text with the model's chat template first");
    }
    if (column.text() == null) {
      throw new BadRowException(
          place, "\"" + name + "\" is " + column.kind().words + ", expected text");
    }
    int lone = loneSurrogate(column.text());
    if (lone >= 0) {
      throw new BadRowException(
          place,
          "\""
              + name
              + "\" has half a surrogate pair (\\u%04x) at character %d, which is no text: repair"
                  .formatted((int) column.text().charAt(lone), lone)
              + " or remove it");
    }
    return column.text();
  }

  private String names() {
    return columns.isEmpty()
        ? "none"
        : String.join(", ", columns.stream().map(column -> quote(column.name())).toList());
  }

  /** A name in quotes, shortened, without the control characters that would break a line. */
  static String quote(String name) {
    String shown = name.length() > 40 ? name.substring(0, 40) + "..." : name;
    return "\"" + shown.replaceAll("\\p{Cntrl}", "?") + "\"";
  }

  private static int loneSurrogate(String text) {
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        return i;
      }
    }
    return -1;
  }
}
