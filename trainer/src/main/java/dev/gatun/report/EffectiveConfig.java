package dev.gatun.report;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * A configuration record as the options that make it: a component's name in snake case is the
 * option's name, a component that is a {@link Section} has options of its own.
 */
public final class EffectiveConfig {
  /**
   * One option.
   *
   * @param section name of the record it stands in; empty for the outermost
   * @param name as users type it
   * @param value as users type it; null: not set
   */
  public record Option(String section, String name, @Nullable String value) {}

  /** A record whose components are options too. */
  public interface Section {}

  private static final Pattern WORD_START = Pattern.compile("(?<=[a-z0-9])(?=[A-Z])");

  private static final Pattern PLAIN =
      Pattern.compile("[A-Za-z_./][\\w./:+-]*[\\w./+-]|[A-Za-z_./]");
  private static final Set<String> KEYWORDS =
      Set.of("y", "n", "yes", "no", "on", "off", "true", "false", "null");

  private EffectiveConfig() {}

  /** All options, in the order of the records' components. */
  public static List<Option> options(Record config) {
    List<Option> options = new ArrayList<>();
    collect("", config, options);
    return List.copyOf(options);
  }

  /** The configuration as a YAML file that makes the same one. */
  public static String yaml(Record config) {
    StringBuilder text = new StringBuilder();
    String section = "";
    for (Option option : options(config)) {
      if (!option.section().equals(section)) {
        section = option.section();
        text.append("# ").append(section).append('\n');
      }
      text.append(option.name()).append(": ").append(option.value()).append('\n');
    }
    return text.toString();
  }

  private static void collect(String section, Record config, List<Option> options) {
    for (RecordComponent component : config.getClass().getRecordComponents()) {
      Object value = read(component, config);
      if (value instanceof Record nested && value instanceof Section) {
        collect(component.getName(), nested, options);
      } else {
        options.add(new Option(section, optionName(component.getName()), text(value)));
      }
    }
  }

  /** Text that YAML would read as something else, or not at all, in quotes. */
  private static String quoted(String text) {
    if (PLAIN.matcher(text).matches() && !KEYWORDS.contains(text.toLowerCase(Locale.ROOT))) {
      return text;
    }
    return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
  }

  static String optionName(String component) {
    return WORD_START.matcher(component).replaceAll("_").toLowerCase(Locale.ROOT);
  }

  private static @Nullable Object read(RecordComponent component, Record config) {
    try {
      return component.getAccessor().invoke(config);
    } catch (IllegalAccessException | InvocationTargetException e) {
      throw new IllegalArgumentException(component + " cannot be read", e);
    }
  }

  private static @Nullable String text(@Nullable Object value) {
    return switch (value) {
      case null -> null;
      case Double number -> Numbers.shortest(number);
      case Integer number -> number.toString();
      case Long number -> number.toString();
      case Boolean flag -> flag.toString();
      case List<?> list ->
          list.stream().map(EffectiveConfig::text).collect(Collectors.joining(", ", "[", "]"));
      default -> quoted(value.toString());
    };
  }
}
