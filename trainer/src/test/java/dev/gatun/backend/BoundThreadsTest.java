package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Which threads are bound to cores, seen from outside; {@link BoundThreads} is the inside. */
@EnabledOnOs(OS.LINUX)
final class BoundThreadsTest {
  /**
   * The pool without the calling thread, each on a core of its own; Java's threads are where they
   * were, as is the number of processors that Java sees.
   */
  @Test
  void onSeveralNodesThePoolIsBoundAndJavaIsNot() throws Exception {
    Map<String, String> said = run(Map.of());
    int cores = Integer.parseInt(said.get("cores"));
    assertTrue(
        said.get("description").contains(" on 2 NUMA nodes, bound to cores"), said::toString);
    assertEquals("free", said.get("main"), said::toString);
    assertEquals("free", said.get("child"), said::toString);
    // On one core there is nothing but the calling thread, and no other mask.
    assertEquals(cores - 1, Integer.parseInt(said.get("bound")), said::toString);
  }

  @Test
  void theUsersSettingWins() throws Exception {
    Map<String, String> said = run(Map.of("OMP_PROC_BIND", "false"));
    assertTrue(said.get("description").contains(" on 2 NUMA nodes, "), said::toString);
    assertTrue(!said.get("description").contains("bound"), said::toString);
    assertEquals("0", said.get("bound"), said::toString);
  }

  private static Map<String, String> run(Map<String, String> environment) throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                BoundThreads.class.getName()));
    builder.environment().keySet().removeIf(name -> name.contains("OMP_"));
    builder.environment().putAll(environment);
    Process process = builder.redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    Map<String, String> said = new HashMap<>();
    for (String line : output.lines().toList()) {
      String[] words = line.split(" ", 2);
      said.put(words[0], words.length == 2 ? words[1] : "");
    }
    return said;
  }
}
