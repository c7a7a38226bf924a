package dev.gatun.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class CudnnPlanFilesTest {
  private static final String KEY = CudnnPlans.fileKey("attention", 90, 132, 92_400);

  private final List<String> warnings = new ArrayList<>();

  @Test
  void textsComeBackAndNothingElseIsLeft(@TempDir Path folder) throws IOException {
    CudnnPlanFiles files = files(folder.resolve("made").resolve("for it"));
    assertNull(files.get(KEY));
    files.put(KEY, "{\"kernels\": \"\\u00e9\"}");
    files.put(KEY, "second");
    assertEquals("second", files.get(KEY));
    assertNull(files.get(CudnnPlans.fileKey("attention", 90, 132, 92_500)));
    try (Stream<Path> left = Files.list(folder.resolve("made").resolve("for it"))) {
      assertEquals(
          List.of("attention-sm90-132-cudnn92400.json"),
          left.map(file -> file.getFileName().toString()).toList());
    }
    assertEquals(List.of(), warnings);
  }

  /** cuDNN would trust it. */
  @Test
  void damagedFilesAreIgnoredWithOneLineAndMadeAgain(@TempDir Path folder) throws IOException {
    CudnnPlanFiles files = files(folder);
    files.put(KEY, "a plan");
    Path file = CudnnPlanFiles.file(folder, KEY);
    String good = Files.readString(file);
    String[] damaged = {
      good.replace("a plan", "a p1an"),
      good.substring(0, good.length() / 2),
      good.replace(KEY, "another"),
      good.replace("\"format\":1", "\"format\":2"),
      "",
      "[]"
    };
    for (String text : damaged) {
      Files.writeString(file, text);
      warnings.clear();
      assertNull(files.get(KEY), text);
      assertEquals(1, warnings.size(), text);
      assertTrue(warnings.getFirst().contains(file.toString()), warnings.getFirst());
      assertEquals(1, warnings.getFirst().lines().count());
    }
    files.put(KEY, "a plan");
    assertEquals("a plan", files.get(KEY));
  }

  @Test
  void aFolderThatCannotBeWrittenCostsOneWarning(@TempDir Path folder) throws IOException {
    Path file = Files.createFile(folder.resolve("file"));
    CudnnPlanFiles files = files(file.resolve("below"));
    files.put(KEY, "a plan");
    files.put(KEY, "a plan");
    assertEquals(1, warnings.size(), warnings.toString());
    CudnnPlanFiles nowhere = files(null);
    nowhere.put(KEY, "a plan");
    assertNull(nowhere.get(KEY));
    assertEquals(1, warnings.size());
  }

  private CudnnPlanFiles files(Path folder) {
    return new CudnnPlanFiles(folder, warnings::add);
  }
}
