package dev.gatun.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.ArgGroupSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/**
 * The options of one command.
 *
 * @param <B> what their values are filed into
 */
final class FlagSet<B> {
  private final SequencedMap<String, Flag<B>> flags = new LinkedHashMap<>();

  /** Options from one or several lists. */
  @SafeVarargs
  FlagSet(List<Flag<B>>... lists) {
    for (List<Flag<B>> list : lists) {
      list.forEach(flag -> flags.put(flag.name(), flag));
    }
  }

  /** All options, in the order in which they are documented. */
  List<Flag<B>> all() {
    return List.copyOf(flags.sequencedValues());
  }

  @Nullable Flag<B> find(String name) {
    return flags.get(name);
  }

  /**
   * Declares the options to the parser, by groups.
   *
   * @param defaults texts of the defaults; an option that has none here shows none
   */
  void declare(CommandSpec spec, Map<String, String> defaults) {
    int order = 0;
    for (Flag.Group group : Flag.Group.values()) {
      ArgGroupSpec.Builder section =
          ArgGroupSpec.builder()
              .validate(false)
              .multiplicity("0..1")
              .heading("%n" + group.heading() + ":%n")
              .order(order++);
      List<Flag<B>> members =
          flags.values().stream().filter(flag -> flag.group() == group).toList();
      for (Flag<B> flag : members) {
        String text = defaults.get(flag.name());
        String description = flag.description() + (text == null ? "" : " Default: " + text + ".");
        section.addArg(
            option(flag.name(), flag.arity())
                .paramLabel(flag.label())
                .description(description.replace("%", "%%"))
                .build());
      }
      if (!members.isEmpty()) {
        spec.addArgGroup(section.build());
      }
    }
  }

  /** An option whose values are kept as they were typed. */
  static OptionSpec.Builder option(String name, Flag.Arity arity) {
    OptionSpec.Builder option =
        OptionSpec.builder("--" + name)
            .type(List.class)
            .auxiliaryTypes(String.class)
            .arity(arity.range());
    return arity == Flag.Arity.TOGGLE ? option.fallbackValue("true") : option;
  }

  /** Files the options that were given. */
  B apply(ParseResult parsed, B target) {
    for (OptionSpec option : parsed.matchedOptions()) {
      Flag<B> flag = flags.get(name(option));
      if (flag != null) {
        flag.set(target, option.stringValues());
      }
    }
    return target;
  }

  /** An option's name without dashes. */
  static String name(OptionSpec option) {
    return option.longestName().substring(2);
  }
}
