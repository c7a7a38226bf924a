package dev.gatun;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.TestSource;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.discovery.PackageNameFilter;
import org.junit.platform.engine.support.descriptor.ClassSource;
import org.junit.platform.engine.support.descriptor.MethodSource;
import org.junit.platform.launcher.TagFilter;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.TestPlan;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/**
 * Runs the tests that a tag expression selects where there is no Maven: {@code RunTagged TAGS
 * CLASSES ROWS [PACKAGE]}. CLASSES is the folder of the test classes. For each of them ROWS gets a
 * line of tab-separated values: class, passed, failed, skipped, seconds. Ends with 1 if a test
 * failed, or none passed.
 */
public final class RunTagged implements TestExecutionListener {
  private static final int MAX_STACK_LINES = 12;

  /** What became of the tests of one class. */
  private static final class Count {
    private int passed;
    private int failed;
    private int skipped;
    private long nanos;
  }

  private final Map<String, Count> counts = new TreeMap<>();
  private final Map<TestIdentifier, Long> begun = new ConcurrentHashMap<>();
  private TestPlan plan;

  private RunTagged() {}

  /** Runs the tests. */
  public static void main(String[] args) throws IOException {
    String tags = args[0];
    Path classes = Path.of(args[1]);
    Path rows = Path.of(args[2]);
    LauncherDiscoveryRequestBuilder request =
        LauncherDiscoveryRequestBuilder.request()
            .selectors(classes(classes).stream().map(DiscoverySelectors::selectClass).toList())
            .filters(TagFilter.includeTags(tags));
    if (args.length > 3) {
      request.filters(PackageNameFilter.includePackageNames(args[3]));
    }
    RunTagged run = new RunTagged();
    LauncherFactory.create().execute(request.build(), run);
    List<String> lines = new ArrayList<>();
    run.counts.forEach(
        (name, count) ->
            lines.add(
                String.format(
                    Locale.ROOT,
                    "%s\t%d\t%d\t%d\t%.1f",
                    name,
                    count.passed,
                    count.failed,
                    count.skipped,
                    count.nanos / 1e9)));
    Files.write(rows, lines);
    System.out.println(String.join("\n", lines));
    boolean good =
        run.counts.values().stream().mapToInt(count -> count.failed).sum() == 0
            && run.counts.values().stream().mapToInt(count -> count.passed).sum() > 0;
    if (run.counts.isEmpty()) {
      System.out.println("no tests with the tags " + tags + " in " + classes);
    }
    System.exit(good ? 0 : 1);
  }

  /**
   * The classes in a folder. JUnit's own scan passes over what it cannot load; then tests would be
   * missing and nobody told.
   */
  private static List<Class<?>> classes(Path folder) throws IOException {
    List<Class<?>> classes = new ArrayList<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file :
          files.filter(path -> path.toString().endsWith("Test.class")).sorted().toList()) {
        String name =
            folder
                .relativize(file)
                .toString()
                .replace(File.separatorChar, '.')
                .replaceFirst("\\.class$", "");
        try {
          Class<?> type = Class.forName(name, false, RunTagged.class.getClassLoader());
          if (type.getDeclaredMethods().length > 0) {
            classes.add(type);
          }
        } catch (ClassNotFoundException | LinkageError e) {
          throw new IllegalStateException(name + " cannot be loaded: " + e, e);
        }
      }
    }
    return classes;
  }

  @Override
  public void testPlanExecutionStarted(TestPlan testPlan) {
    plan = testPlan;
  }

  @Override
  public void executionStarted(TestIdentifier test) {
    begun.put(test, System.nanoTime());
  }

  @Override
  public void executionSkipped(TestIdentifier test, String reason) {
    System.out.println("SKIPPED " + name(test) + ": " + reason);
    // Of a class or a method with cases, how many there would have been is not known.
    count(test).skipped++;
  }

  @Override
  public void executionFinished(TestIdentifier test, TestExecutionResult result) {
    Throwable reason = result.getThrowable().orElse(null);
    boolean successful = result.getStatus() == TestExecutionResult.Status.SUCCESSFUL;
    if (test.isContainer() && successful) {
      return;
    }
    Count count = count(test);
    count.nanos += System.nanoTime() - begun.get(test);
    switch (result.getStatus()) {
      case SUCCESSFUL -> count.passed++;
      case ABORTED -> {
        count.skipped++;
        System.out.println("SKIPPED " + name(test) + ": " + reason);
      }
      case FAILED -> {
        count.failed++;
        System.out.println("FAILED " + name(test));
        for (Throwable t = reason; t != null; t = t.getCause()) {
          System.out.println("  " + t);
          for (StackTraceElement e :
              List.of(t.getStackTrace())
                  .subList(0, Math.min(MAX_STACK_LINES, t.getStackTrace().length))) {
            System.out.println("    at " + e);
          }
        }
      }
    }
  }

  private Count count(TestIdentifier test) {
    return counts.computeIfAbsent(className(test), _ -> new Count());
  }

  private static String className(TestIdentifier test) {
    TestSource source = test.getSource().orElse(null);
    return switch (source) {
      case MethodSource method -> method.getClassName();
      case ClassSource type -> type.getClassName();
      case null, default -> test.getDisplayName();
    };
  }

  /** Class, method and case. */
  private String name(TestIdentifier test) {
    String names =
        plan.getParent(test)
            .filter(parent -> parent.getSource().orElse(null) instanceof MethodSource)
            .map(parent -> parent.getDisplayName() + " ")
            .orElse("");
    return className(test) + " " + names + test.getDisplayName();
  }
}
