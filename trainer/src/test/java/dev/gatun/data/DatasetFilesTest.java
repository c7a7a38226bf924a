package dev.gatun.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class DatasetFilesTest {
  @TempDir private Path folder;

  @Test
  void aFileIsItself() throws IOException {
    write("any.name");
    assertEquals(List.of("any.name"), find(folder.resolve("any.name"), "train"));
  }

  @Test
  void splitsAreFoundByFileName() throws IOException {
    write(
        "README.md", "train.jsonl", "dev.jsonl", "x-test-2.json", ".hidden.jsonl", "trainer.json");
    assertEquals(List.of("train.jsonl"), find(folder, "train"));
    assertEquals(List.of("dev.jsonl"), find(folder, "validation"));
    assertEquals(List.of("x-test-2.json"), find(folder, "test"));
    assertEquals(List.of("dev.jsonl"), find(folder, "dev"));
  }

  @Test
  void shardsComeInOrder() throws IOException {
    write("data/train-00001-of-00002.jsonl", "data/train-00000-of-00002.jsonl");
    assertEquals(
        List.of("data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"),
        find(folder, "train"));
  }

  @Test
  void foldersNamedForASplitComeBeforeFileNames() throws IOException {
    write("train/a.json", "train/test.json", "test/a.json", "train.jsonl");
    assertEquals(List.of("train/a.json", "train/test.json"), find(folder, "train"));
    assertEquals(List.of("test/a.json"), find(folder, "test"));
  }

  @Test
  void withoutAnySplitAllFilesAreTrain() throws IOException {
    write("b.json", "a.jsonl", "__cache/c.json", "dataset_info.json");
    assertEquals(List.of("a.jsonl", "b.json"), find(folder, "train"));
    assertEquals(List.of("b.json"), find(folder, "b"));
  }

  @Test
  void saysWhatIsMissing() throws IOException {
    refuses(folder.resolve("absent"), "train", "no such file or folder");
    refuses(folder, "train", "the folder holds no file");
    write("train.parquet");
    refuses(folder, "train", "train.parquet is not a .jsonl or .json file: convert it");
    refuses(folder.resolve("train.parquet"), "train", "convert it");
    write("test.jsonl.gz");
    refuses(folder.resolve("test.jsonl.gz"), "train", "unpack it first");
    write("test.jsonl");
    refuses(folder, "train", "no file of the split \"train\"");
    refuses(folder, "train", "its files are test.jsonl");
  }

  private static void refuses(Path dataset, String split, String message) {
    DataException e = assertThrows(DataException.class, () -> DatasetFiles.find(dataset, split));
    assertTrue(e.getMessage().contains(message), e.getMessage());
    assertEquals(1, e.getMessage().lines().count());
  }

  private List<String> find(Path dataset, String split) {
    return DatasetFiles.find(dataset, split).stream()
        .map(file -> folder.relativize(file).toString())
        .toList();
  }

  private void write(String... names) throws IOException {
    for (String name : names) {
      Path file = folder.resolve(name);
      Files.createDirectories(file.getParent());
      Files.writeString(file, "{}");
    }
  }
}
