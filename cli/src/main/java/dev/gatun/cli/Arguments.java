package dev.gatun.cli;

import dev.gatun.report.DidYouMean;
import dev.gatun.train.ConfigException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;

/**
 * Brings the ways in which options can be written to the one that the parser knows: {@code
 * --learning-rate} becomes {@code --learning_rate}, and {@code --no_bf16} becomes {@code
 * --bf16=false}.
 */
final class Arguments {
  private Arguments() {}

  /**
   * The same arguments in the parser's spelling.
   *
   * @throws ConfigException for a command or an option that does not exist, with the one meant
   */
  static String[] normalize(String[] args, CommandLine program) {
    CommandLine commands = program;
    CommandSpec spec = commands.getCommandSpec();
    List<String> normal = new ArrayList<>();
    // Commands are named one behind the other; what follows an option's name is its value.
    boolean commandExpected = true;
    for (String arg : args) {
      if (commandExpected && !arg.startsWith("-")) {
        CommandLine command = commands.getSubcommands().get(arg);
        if (command == null) {
          throw new ConfigException(
              "command",
              "there is no %s%s; %s --help lists them"
                  .formatted(
                      arg,
                      DidYouMean.hint(arg, commands.getSubcommands().keySet()),
                      spec.qualifiedName()));
        }
        spec = command.getCommandSpec();
        commands = command;
        commandExpected = !command.getSubcommands().isEmpty();
        normal.add(arg);
      } else if (arg.startsWith("--") && arg.length() > 2) {
        commandExpected &= spec.parent() == null;
        normal.add(option(arg, spec));
      } else {
        normal.add(arg);
      }
    }
    return normal.toArray(String[]::new);
  }

  private static String option(String arg, CommandSpec spec) {
    int equals = arg.indexOf('=');
    String name = (equals < 0 ? arg : arg.substring(0, equals)).replace('-', '_');
    name = "--" + name.substring(2);
    String value = equals < 0 ? "" : arg.substring(equals);
    Map<String, OptionSpec> options = spec.optionsMap();
    if (options.containsKey(name)) {
      return name + value;
    }
    if (name.startsWith("--no_") && value.isEmpty()) {
      String positive = "--" + name.substring("--no_".length());
      OptionSpec option = options.get(positive);
      if (option != null && option.arity().min() == 0) {
        return positive + "=false";
      }
    }
    TreeSet<String> visible = new TreeSet<>();
    options.values().stream()
        .filter(known -> !known.hidden())
        .forEach(known -> visible.add(known.longestName()));
    throw new ConfigException(
        name.substring(2),
        "is not an option of %s%s; gatun %shelp lists them"
            .formatted(
                spec.qualifiedName(),
                DidYouMean.hint(name, visible),
                spec.parent() == null ? "--" : spec.name() + " --"));
  }
}
