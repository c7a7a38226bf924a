package dev.gatun;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.library.dependencies.SlicesRuleDefinition;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Who may import whom in the library:
 *
 * <pre>
 * train -> {preference, optim, checkpoint, data, report, store, bench} -> model -> op -> backend -> tensor -> memory
 * </pre>
 *
 * and hf, the file formats, beside them, which knows memory and tensor alone; store knows hf and
 * memory. library, which hf, store and backend ask for native libraries of others' jars, knows
 * memory. selftest, which nobody here imports, is above all; the references in double,
 * op.reference, are for it alone.
 */
final class ArchitectureTest {
  private static final String ROOT = "dev.gatun.";

  /** For each package the others of the library that it may import. */
  private static final Map<String, List<String>> ALLOWED =
      Map.ofEntries(
          Map.entry("memory", List.of()),
          Map.entry("tensor", List.of("memory")),
          Map.entry("library", List.of("memory")),
          Map.entry("hf", List.of("library", "tensor", "memory")),
          Map.entry("store", List.of("hf", "library", "memory")),
          Map.entry("backend", List.of("bindings", "library", "tensor", "memory")),
          Map.entry("op", List.of("backend", "tensor", "memory")),
          Map.entry("model", List.of("hf", "op", "backend", "tensor", "memory")),
          Map.entry("preference", aboveModel()),
          Map.entry("optim", aboveModel()),
          Map.entry("checkpoint", aboveModel("hf")),
          Map.entry("data", aboveModel("hf")),
          Map.entry("report", aboveModel()),
          Map.entry("bench", aboveModel("hf")),
          Map.entry(
              "train",
              aboveModel(
                  "hf", "preference", "optim", "checkpoint", "data", "report", "store", "bench")),
          Map.entry("selftest", aboveModel("hf", "preference", "optim", "train")));

  private static final JavaClasses CLASSES =
      new ClassFileImporter()
          .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
          .importPackages("dev.gatun");

  private static List<String> aboveModel(String... more) {
    return Stream.concat(
            Arrays.stream(more), Stream.of("model", "op", "backend", "tensor", "memory"))
        .toList();
  }

  static Stream<String> packages() {
    return ALLOWED.keySet().stream().sorted();
  }

  @ParameterizedTest
  @MethodSource("packages")
  void importsOnlyWhatThePictureAllows(String name) {
    String[] forbidden =
        Stream.concat(ALLOWED.keySet().stream(), Stream.of("bindings", "cli"))
            .filter(other -> !other.equals(name) && !ALLOWED.get(name).contains(other))
            .map(other -> ROOT + other + "..")
            .toArray(String[]::new);
    noClasses()
        .that()
        .resideInAPackage(ROOT + name + "..")
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(forbidden)
        .allowEmptyShould(true)
        .check(CLASSES);
  }

  @Test
  void everyPackageIsInThePicture() {
    TreeSet<String> known =
        Stream.concat(ALLOWED.keySet().stream(), Stream.of("bindings"))
            .collect(Collectors.toCollection(TreeSet::new));
    TreeSet<String> unknown =
        CLASSES.stream()
            .map(JavaClass::getPackageName)
            .map(name -> name.substring(ROOT.length()).split("\\.", 2)[0])
            .filter(name -> !known.contains(name))
            .collect(Collectors.toCollection(TreeSet::new));
    assertEquals(new TreeSet<>(), unknown, "packages without an entry in ALLOWED");
  }

  @Test
  void packagesFormNoCycle() {
    SlicesRuleDefinition.slices().matching(ROOT + "(*)..").should().beFreeOfCycles().check(CLASSES);
  }

  /** LMDB, xxHash and hwloc take addresses: one class each answers for what is done with them. */
  @Test
  void lwjglIsCalledInOnePlaceEach() {
    Map<String, String> callers =
        Map.of(
            "org.lwjgl.util.lmdb..", "store.Lmdb",
            "org.lwjgl.util.xxhash..", "hf.Xxh3",
            "org.lwjgl.util.hwloc..", "backend.Hwloc");
    callers.forEach(
        (library, caller) ->
            noClasses()
                .that()
                .haveNameNotMatching(Pattern.quote(ROOT + caller) + "(\\$.*)?")
                .should()
                .dependOnClassesThat()
                .resideInAPackage(library)
                .check(CLASSES));
  }

  /** What an op is held to is not what it is made of. */
  @Test
  void referencesAreForTheSelfTest() {
    noClasses()
        .that()
        .resideOutsideOfPackages(ROOT + "op.reference..", ROOT + "selftest..")
        .should()
        .dependOnClassesThat()
        .resideInAPackage(ROOT + "op.reference..")
        .check(CLASSES);
  }

  /**
   * What is above the ops speaks of tensors, not of memory; but for the self-test, which looks at
   * the bytes around them.
   */
  @Test
  void rawMemoryStaysBelowTheOps() {
    noClasses()
        .that()
        .resideOutsideOfPackages(
            Stream.of(
                    "bindings", "memory", "tensor", "backend", "op", "checkpoint", "hf", "selftest")
                .map(name -> ROOT + name + "..")
                .toArray(String[]::new))
        .should()
        .dependOnClassesThat()
        .areAssignableTo(MemorySegment.class)
        .check(CLASSES);
  }
}
