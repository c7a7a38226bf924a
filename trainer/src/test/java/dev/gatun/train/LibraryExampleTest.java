package dev.gatun.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The example that docs/library.md sends people to compiles, and trains. */
class LibraryExampleTest {
  @TempDir Path temp;

  @Test
  void theExampleCompilesAndTrains() throws Exception {
    int status =
        ToolProvider.getSystemJavaCompiler()
            .run(
                null,
                null,
                null,
                "-Xlint:all",
                "-Werror",
                "-proc:none",
                "-d",
                temp.toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "../docs/examples/TrainFromJava.java");
    assertEquals(0, status, "compiler");

    PrintStream out = System.out;
    ByteArrayOutputStream printed = new ByteArrayOutputStream();
    Path output = temp.resolve("trained");
    try (URLClassLoader loader = new URLClassLoader(new URL[] {temp.toUri().toURL()})) {
      System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
      loader
          .loadClass("TrainFromJava")
          .getMethod("main", String[].class)
          .invoke(
              null,
              (Object)
                  new String[] {
                    "src/test/resources/goldens/models/tiny-llama",
                    "src/test/resources/goldens/data/parity.standard.jsonl",
                    output.toString()
                  });
    } finally {
      System.setOut(out);
    }
    String text = printed.toString(StandardCharsets.UTF_8);
    assertTrue(text.contains("step 1: loss 0.6931, margin 0.0000"), text);
    assertTrue(text.contains("step 3: "), text);
    assertTrue(Files.exists(output.resolve("model.safetensors")));
  }
}
