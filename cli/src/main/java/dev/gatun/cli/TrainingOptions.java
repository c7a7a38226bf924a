package dev.gatun.cli;

import dev.gatun.report.ConsoleProgress;
import dev.gatun.report.DidYouMean;
import dev.gatun.report.EffectiveConfig;
import dev.gatun.train.ConfigException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.Set;
import java.util.stream.Collectors;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;

/**
 * The options of a training command, from the command line and from a configuration file; the
 * command line wins, key by key.
 *
 * @param <B> the builder of the command's configuration
 */
final class TrainingOptions<B> {
  private static final String CONFIG = "config";
  private static final String DISABLE_TQDM = "disable_tqdm";
  private static final Set<String> REQUIRED =
      Set.of("model_name_or_path", "dataset_name", "output_dir");

  private final FlagSet<B> flags;
  private final Map<String, TrlOption> trlOptions = new LinkedHashMap<>();

  TrainingOptions(List<Flag<B>> flags) {
    this.flags = new FlagSet<>(flags);
    for (TrlOption option : TrlOption.ALL) {
      if (this.flags.find(option.name()) == null) {
        trlOptions.put(option.name(), option);
      }
    }
  }

  /** All options that choose something. */
  List<Flag<B>> flags() {
    return flags.all();
  }

  /** TRL's options that are checked but choose nothing. */
  List<TrlOption> trlOptions() {
    return List.copyOf(trlOptions.values());
  }

  /**
   * Declares the options to the parser.
   *
   * @param defaults a configuration where nothing but what is required was set
   */
  void declare(CommandSpec spec, Record defaults) {
    declare(spec, defaults, Map.of());
  }

  /**
   * As above.
   *
   * @param more defaults of options that are not part of the configuration
   */
  void declare(CommandSpec spec, Record defaults, Map<String, String> more) {
    spec.addOption(
        FlagSet.option(CONFIG, Flag.Arity.ONE)
            .paramLabel("FILE")
            .description("YAML file with any of these options; the command line overrides it.")
            .build());
    spec.addOption(
        FlagSet.option(DISABLE_TQDM, Flag.Arity.TOGGLE)
            .paramLabel("true|false")
            .description("Plain lines instead of a progress bar.")
            .build());
    Map<String, String> texts = new HashMap<>(defaultTexts(defaults));
    texts.putAll(more);
    flags.declare(spec, texts);
    for (String name : trlOptions.keySet()) {
      spec.addOption(FlagSet.option(name, Flag.Arity.LIST).arity("0..*").hidden(true).build());
    }
  }

  /** The defaults as users type them; options that are required have none. */
  static Map<String, String> defaultTexts(Record defaults) {
    return EffectiveConfig.options(defaults).stream()
        .filter(option -> !REQUIRED.contains(option.name()))
        .collect(
            Collectors.toMap(
                EffectiveConfig.Option::name,
                option ->
                    option.value() == null || option.value().equals("[]")
                        ? "none"
                        : option.value().replaceAll("[\\[\\]\"]", "")));
  }

  /**
   * Files all options that were given into the builder.
   *
   * @return the console, with plain lines if a progress bar was declined
   * @throws ConfigException naming the option, and for a configuration file its line
   */
  Console apply(ParseResult parsed, B builder, Console console) {
    SequencedMap<String, ConfigFile.Entry> given = new LinkedHashMap<>();
    for (OptionSpec option : parsed.matchedOptions()) {
      String name = FlagSet.name(option);
      if (flags.find(name) != null
          || trlOptions.containsKey(name)
          || name.equals(CONFIG)
          || name.equals(DISABLE_TQDM)) {
        given.put(name, new ConfigFile.Entry(option.stringValues(), ""));
      }
    }
    ConfigFile.Entry file = given.remove(CONFIG);
    if (file != null) {
      ConfigFile.read(Flag.path(CONFIG, Flag.only(CONFIG, file.values())))
          .forEach(given::putIfAbsent);
    }
    ConfigFile.Entry plainLines = given.remove(DISABLE_TQDM);
    given.forEach((name, entry) -> set(name, entry, builder));
    return plainLines != null
            && Flag.bool(DISABLE_TQDM, Flag.only(DISABLE_TQDM, plainLines.values()))
        ? new Console(console.out(), console.settings(), ConsoleProgress.Style.LINES)
        : console;
  }

  private void set(String name, ConfigFile.Entry entry, B builder) {
    try {
      Flag<B> flag = flags.find(name);
      TrlOption trlOption = trlOptions.get(name);
      if (flag != null) {
        flag.set(builder, entry.values());
      } else if (trlOption != null) {
        trlOption.check(entry.values());
      } else {
        List<String> known = flags.all().stream().map(Flag::name).toList();
        throw new ConfigException(name, "is not an option" + DidYouMean.hint(name, known));
      }
    } catch (ConfigException e) {
      if (entry.place().isEmpty()) {
        throw e;
      }
      throw new ConfigException(CONFIG, entry.place() + ": " + e.getMessage());
    }
  }
}
