package dev.gatun.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.train.DpoConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Holds the pages that list options and exit codes to the program. */
class OptionsPageTest {
  private static final Path DOCS = Path.of("..", "docs");
  private static final String BEGIN = "<!-- options: checked by OptionsPageTest -->\n";
  private static final String END = "<!-- end of options -->\n";

  /** Run with {@code -Dgatun.docs=write} to bring the page up to date. */
  @Test
  void trainDpoListsEveryOption() throws IOException {
    Path page = DOCS.resolve("train-dpo.md");
    String text = Files.readString(page);
    int begin = text.indexOf(BEGIN) + BEGIN.length();
    int end = text.indexOf(END);
    String expected = text.substring(0, begin) + table() + text.substring(end);
    if ("write".equals(System.getProperty("gatun.docs"))) {
      Files.writeString(page, expected);
    }
    assertEquals(
        expected,
        Files.readString(page),
        "docs/train-dpo.md is stale; run: mvn -pl cli -am test -Dtest=OptionsPageTest"
            + " -Dsurefire.failIfNoSpecifiedTests=false -Dgatun.docs=write");
  }

  @Test
  void exitCodesAreListed() throws IOException {
    String page = Files.readString(DOCS.resolve("exit-codes.md"));
    for (ExitCode exit : ExitCode.values()) {
      String row = "| %d | %s |".formatted(exit.code(), exit.meaning());
      assertTrue(page.contains(row), row);
    }
  }

  private static String table() {
    TrainingOptions<DpoConfig.Builder> options = DpoCommand.options();
    Map<String, String> defaults = TrainingOptions.defaultTexts(DpoCommand.defaults());
    StringBuilder text = new StringBuilder();
    for (Flag.Group group : Flag.Group.values()) {
      List<Flag<DpoConfig.Builder>> flags =
          options.flags().stream().filter(flag -> flag.group() == group).toList();
      text.append("\n### ").append(group.heading()).append("\n\n");
      text.append("| option | default | |\n|---|---|---|\n");
      for (Flag<DpoConfig.Builder> flag : flags) {
        text.append(
            "| `%s` | %s | %s |%n"
                .formatted(
                    flag.name(),
                    defaults.containsKey(flag.name())
                        ? "`" + defaults.get(flag.name()) + "`"
                        : "required",
                    flag.description()));
      }
    }
    text.append("\n### Options of TRL that choose nothing here\n\n");
    text.append("| option | accepted | |\n|---|---|---|\n");
    for (TrlOption option : options.trlOptions()) {
      text.append(
          "| `%s` | %s | %s |%n"
              .formatted(
                  option.name(),
                  option.accepted().isEmpty()
                      ? ""
                      : "`" + String.join("`, `", option.accepted()) + "`",
                  option.reason()));
    }
    return text.append('\n').toString();
  }
}
