package dev.gatun.hf;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

final class ModelDirectoryTest {
  private static final ObjectNode CONFIG =
      JsonNodeFactory.instance.objectNode().put("model_type", "llama");
  private static final StoredTensor A = StoredTensor.ofFloats("a", new long[] {2}, 1, 2);
  private static final StoredTensor B = StoredTensor.ofFloats("b", new long[] {3}, 3, 4, 5);
  private static final StoredTensor C = StoredTensor.ofFloats("c", new long[] {1}, 6);
  private static final String FIRST = "model-00001-of-00002.safetensors";
  private static final String SECOND = "model-00002-of-00002.safetensors";

  @TempDir Path folder;

  static List<Path> models() throws IOException {
    return Goldens.models();
  }

  @ParameterizedTest
  @MethodSource("models")
  void savesWhatItOpened(Path golden) throws IOException {
    Path out = folder.resolve("out");
    try (ModelDirectory model = ModelDirectory.open(golden)) {
      model.save(out, model.names().stream().map(model::tensor).toList());
      try (ModelDirectory saved = ModelDirectory.open(out)) {
        assertEquals(model.names(), saved.names());
        assertEquals(model.fingerprint(), saved.fingerprint());
        ObjectNode config = saved.config();
        assertEquals(config.get("dtype"), config.get("torch_dtype"));
        for (Map.Entry<String, JsonNode> entry : model.config().properties()) {
          assertEquals(entry.getValue(), config.get(entry.getKey()), entry.getKey());
        }
      }
    }
    assertEquals(names(golden), names(out));
    assertEquals(
        -1, Files.mismatch(golden.resolve("model.safetensors"), out.resolve("model.safetensors")));
    assertEquals(
        -1, Files.mismatch(golden.resolve("tokenizer.json"), out.resolve("tokenizer.json")));
  }

  @Test
  void writesShardsAsHuggingFaceDoes() throws IOException {
    Path out = saveShards();
    assertEquals(List.of("config.json", FIRST, SECOND, "model.safetensors.index.json"), names(out));
    assertEquals(
        """
        {
          "metadata": {
            "total_parameters": 6,
            "total_size": 24
          },
          "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00001-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors"
          }
        }
        """,
        Files.readString(out.resolve(WeightIndex.FILE_NAME)));
    try (ModelDirectory model = ModelDirectory.open(out)) {
      assertEquals(List.of("a", "b", "c"), List.copyOf(model.names()));
      assertArrayEquals(new float[] {3, 4, 5}, model.tensor("b").toFloats());
      assertArrayEquals(new float[] {6}, model.tensor("c").toFloats());
    }
  }

  @Test
  void theFingerprintIsOfTheContentAlone() {
    Path one = folder.resolve("one");
    ModelDirectory.save(one, CONFIG, List.of(C, B, A), Map.of());
    assertEquals(fingerprint(saveShards()), fingerprint(one));

    StoredTensor changed = StoredTensor.ofFloats("c", new long[] {1}, Math.nextUp(6f));
    StoredTensor renamed = StoredTensor.ofFloats("d", new long[] {1}, 6);
    StoredTensor reshaped = StoredTensor.ofFloats("c", new long[] {1, 1}, 6);
    for (StoredTensor other : List.of(changed, renamed, reshaped)) {
      Path out = folder.resolve("other");
      ModelDirectory.save(out, CONFIG, List.of(A, B, other), Map.of());
      assertNotEquals(fingerprint(one), fingerprint(out));
    }
  }

  /** XXH3-128 of "" and "a" by xxHash 0.8 itself. */
  @Test
  void hashesAsXxhsum() {
    try (Arena arena = Arena.ofConfined()) {
      assertEquals(
          "99aa06d3014798d86001c324468d497f",
          HexFormat.of().formatHex(Xxh3.hash128(arena.allocate(0))));
      assertEquals(
          "a96faf705af16834e6c632b61e964e1f",
          HexFormat.of().formatHex(Xxh3.hash128(arena.allocateFrom("a").asSlice(0, 1))));
    }
  }

  @Test
  void updatesADirectoryAndKeepsWhatElseIsInIt() throws IOException {
    Path out = saveShards();
    Files.writeString(out.resolve("metrics.jsonl"), "{}\n");
    Files.createDirectory(out.resolve("checkpoint-20"));
    ModelDirectory.save(out, CONFIG, List.of(B), Map.of("merges.txt", new byte[] {'x'}));
    assertEquals(
        List.of("checkpoint-20", "config.json", "merges.txt", "metrics.jsonl", "model.safetensors"),
        names(out));
    try (ModelDirectory model = ModelDirectory.open(out)) {
      assertEquals(List.of("b"), List.copyOf(model.names()));
    }
  }

  /** The weights that are saved may be those of the files that are replaced. */
  @Test
  void savesIntoItself() throws IOException {
    Path out = saveShards();
    try (ModelDirectory model = ModelDirectory.open(out)) {
      model.save(out, List.of(model.tensor("c"), model.tensor("b")));
    }
    try (ModelDirectory model = ModelDirectory.open(out)) {
      assertEquals(List.of("b", "c"), List.copyOf(model.names()));
      assertArrayEquals(new float[] {3, 4, 5}, model.tensor("b").toFloats());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"new", "old"})
  void aFailureHalfWayChangesNothing(String name) throws IOException {
    ModelDirectory.save(folder.resolve("old"), CONFIG, List.of(A, B), Map.of());
    List<String> before = names(folder);
    String fingerprint = fingerprint(folder.resolve("old"));
    StoredTensor released;
    try (Arena arena = Arena.ofConfined()) {
      released = new StoredTensor("z", ElementType.F32, new long[] {4}, arena.allocate(16));
    }
    List<StoredTensor> tensors = List.of(A, released);
    assertThrows(
        IllegalStateException.class,
        () -> ModelDirectory.save(folder.resolve(name), CONFIG, tensors, Map.of()));
    assertEquals(before, names(folder));
    assertEquals(List.of("config.json", "model.safetensors"), names(folder.resolve("old")));
    assertEquals(fingerprint, fingerprint(folder.resolve("old")));
  }

  /** What a killed process leaves is not a model, and goes with the next save. */
  @Test
  void removesTheDraftsOfDeadProcesses() throws IOException {
    Path dead = folder.resolve(".out.gatun-save-" + Integer.MAX_VALUE);
    Files.createDirectories(dead);
    Files.writeString(dead.resolve("config.json"), "{}");
    ModelDirectory.save(folder.resolve("out"), CONFIG, List.of(A), Map.of());
    assertEquals(List.of("out"), names(folder));
  }

  @Test
  void aFullDiskChangesNothing() throws IOException {
    ModelDirectory.save(folder.resolve("old"), CONFIG, List.of(A), Map.of());
    List<String> before = names(folder);
    long tooMuch = Files.getFileStore(folder).getUsableSpace() + (64L << 30);
    // Address space without memory: nothing reads or writes it.
    MemorySegment huge = MemorySegment.ofAddress(1 << 20).reinterpret(tooMuch);
    StoredTensor tensor = new StoredTensor("huge", ElementType.U8, new long[] {tooMuch}, huge);
    for (String name : List.of("old", "new")) {
      Path out = folder.resolve(name);
      WriteException e =
          assertThrows(
              WriteException.class,
              () -> ModelDirectory.save(out, CONFIG, List.of(tensor), Map.of()));
      assertTrue(e.getMessage().startsWith(out + ": needs "), e.getMessage());
      assertTrue(e.getMessage().contains("are free on the disk of "), e.getMessage());
    }
    assertEquals(before, names(folder));
    ModelDirectory.open(folder.resolve("old")).close();
  }

  @Test
  void refusesToSaveOverAFile() throws IOException {
    Path out = Files.createFile(folder.resolve("out"));
    WriteException e =
        assertThrows(
            WriteException.class, () -> ModelDirectory.save(out, CONFIG, List.of(A), Map.of()));
    assertTrue(e.getMessage().contains("is a file, expected a folder"), e.getMessage());
  }

  @Test
  void writesOldAndNewNamesOfRope() throws IOException {
    JsonNode v5 = saved("{'rope_parameters':{'rope_theta':5.0,'rope_type':'llama3','factor':8.0}}");
    assertEquals(5.0, v5.get("rope_theta").doubleValue());
    assertEquals(json("{'rope_type':'llama3','factor':8.0}"), v5.get("rope_scaling"));

    JsonNode linear =
        saved("{'rope_parameters':{'rope_theta':5.0,'rope_type':'linear','factor':2.0}}");
    assertEquals(json("{'type':'linear','factor':2.0}"), linear.get("rope_scaling"));

    JsonNode plain = saved("{'rope_parameters':{'rope_theta':5.0,'rope_type':'default'}}");
    assertTrue(plain.get("rope_scaling").isNull());

    JsonNode v4 = saved("{'rope_theta':7.0,'rope_scaling':{'type':'linear','factor':2.0}}");
    assertEquals(
        json("{'rope_theta':7.0,'rope_type':'linear','factor':2.0}"), v4.get("rope_parameters"));

    JsonNode old = saved("{'rope_theta':7.0}");
    assertEquals(json("{'rope_theta':7.0,'rope_type':'default'}"), old.get("rope_parameters"));
  }

  @Test
  void writesTheTypeOfTheTensors() {
    JsonNode config = saved("{'dtype':'bfloat16'}");
    assertEquals("float32", config.get("dtype").textValue());
    assertEquals("float32", config.get("torch_dtype").textValue());
  }

  @Test
  void keepsWhatJsonOfPythonCanHold() throws IOException {
    Path out = folder.resolve("out");
    String config = "{\"big\":[1e30,12345678901234567890],\"inf\":Infinity,\"text\":\"\\ud800é\"}";
    ObjectNode parsed = Json.parseObject(out, config.getBytes(StandardCharsets.UTF_8));
    ModelDirectory.save(out, parsed, List.of(A), Map.of());
    String text = Files.readString(out.resolve("config.json"));
    assertTrue(text.contains("\"inf\": Infinity"), text);
    assertTrue(text.contains("\"text\": \"\\uD800\\u00E9\""), text);
    assertTrue(text.contains("12345678901234567890"), text);
    for (Map.Entry<String, JsonNode> entry : parsed.properties()) {
      assertEquals(
          entry.getValue(), ModelDirectory.readConfig(out).get(entry.getKey()), entry.getKey());
    }
  }

  @Test
  void saysThatNothingIsDownloaded() {
    FormatException e = refused(Path.of("some-org/some-model"));
    assertTrue(
        e.getMessage().contains("hf download some-org/some-model --local-dir some-org/some-model"),
        e.getMessage());
  }

  @Test
  void saysWhatItLookedFor() throws IOException {
    assertTrue(refused(folder.resolve("no where")).getMessage().contains("does not exist"));
    Path file = Files.createFile(folder.resolve("file"));
    assertTrue(refused(file).getMessage().contains("is a file, expected the folder"));
    assertTrue(refused(folder).getMessage().contains("holds no config.json"));
    Files.writeString(folder.resolve("config.json"), "{}");
    assertTrue(
        refused(folder)
            .getMessage()
            .contains("looked for model.safetensors and model.safetensors.index.json"));
    Files.createFile(folder.resolve("pytorch_model.bin"));
    assertTrue(refused(folder).getMessage().contains("convert pytorch_model.bin"));
  }

  /** A folder in the place of a file makes putting it there fail, when all else is written. */
  @Test
  void aSaveThatStopsHalfWayDoesNotLoadAndLosesNothing() throws IOException {
    Path out = saveShards();
    Files.createDirectories(out.resolve("merges.txt").resolve("in the way"));
    WriteException e =
        assertThrows(
            WriteException.class,
            () -> ModelDirectory.save(out, CONFIG, List.of(B), Map.of("merges.txt", new byte[1])));
    assertTrue(e.getMessage().startsWith(out + ": is incomplete: "), e.getMessage());
    Path draft = out.resolve(".gatun-save-" + ProcessHandle.current().pid());
    assertTrue(e.getMessage().endsWith("are in " + draft), e.getMessage());
    assertTrue(Files.exists(draft.resolve("model.safetensors")));
    assertTrue(refused(out).getMessage().contains("a save was interrupted"));

    Files.delete(out.resolve("merges.txt").resolve("in the way"));
    Files.delete(out.resolve("merges.txt"));
    ModelDirectory.save(out, CONFIG, List.of(B), Map.of());
    assertEquals(List.of("config.json", "model.safetensors"), names(out));
  }

  @Test
  void namesAModelFurtherDown() throws IOException {
    Path snapshot = folder.resolve("checkpoint-20");
    ModelDirectory.save(snapshot, CONFIG, List.of(A), Map.of());
    assertTrue(refused(folder).getMessage().contains("did you mean " + snapshot + "?"));
  }

  @Test
  void namesAnAdapter() throws IOException {
    Files.writeString(folder.resolve("adapter_config.json"), "{}");
    assertTrue(refused(folder).getMessage().contains("PEFT adapter"));
  }

  @Test
  void refusesTwoKindsOfWeights() throws IOException {
    Path out = saveShards();
    Files.copy(out.resolve(FIRST), out.resolve("model.safetensors"));
    assertTrue(refused(out).getMessage().contains("holds both model.safetensors and"));
  }

  @Test
  void refusesAMissingShard() throws IOException {
    Path out = saveShards();
    Files.delete(out.resolve(SECOND));
    assertTrue(refused(out).getMessage().startsWith(out.resolve(SECOND) + ": is missing"));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../" + FIRST,
        "/etc/" + FIRST,
        "sub/" + FIRST,
        "..\\" + FIRST,
        "C:x.safetensors",
        ".safetensors",
        "x.bin",
        ""
      })
  void refusesAShardOutsideOfTheFolder(String shard) {
    Path out = saveShards();
    editIndex(out, index -> index.withObject("weight_map").put("a", shard));
    FormatException e = refused(out);
    assertTrue(e.getMessage().contains("weight_map puts tensor \"a\" into"), e.getMessage());
  }

  @Test
  void refusesATensorInTwoShards() {
    Path out = saveShards();
    SafetensorsWriter.write(out.resolve(SECOND), List.of(A, C));
    assertTrue(
        refused(out)
            .getMessage()
            .contains(SECOND + " holds tensor \"a\", which weight_map puts into " + FIRST));
  }

  @Test
  void refusesATensorThatTheIndexDoesNotList() {
    Path out = saveShards();
    editIndex(out, index -> index.withObject("weight_map").remove("a"));
    assertTrue(
        refused(out)
            .getMessage()
            .contains(FIRST + " holds tensor \"a\", which weight_map does not list"));
  }

  @Test
  void refusesATensorThatTheShardLacks() {
    Path out = saveShards();
    editIndex(out, index -> index.withObject("weight_map").put("x", SECOND));
    FormatException e = refused(out);
    assertTrue(
        e.getMessage().startsWith(out.resolve(SECOND) + ": has no tensor \"x\""), e.getMessage());
  }

  @Test
  void refusesAnotherTotalSize() {
    Path out = saveShards();
    editIndex(out, index -> index.withObject("metadata").put("total_size", 25));
    assertTrue(
        refused(out)
            .getMessage()
            .contains("metadata.total_size is 25, but the tensors of its files are 24 bytes"));
    editIndex(out, index -> index.withObject("metadata").put("total_size", 24.0));
    ModelDirectory.open(out).close();
    editIndex(out, index -> index.remove("metadata"));
    ModelDirectory.open(out).close();
  }

  @Test
  void namesATensorThatIsNotThere() {
    try (ModelDirectory model = ModelDirectory.open(saveShards())) {
      FormatException e = assertThrows(FormatException.class, () -> model.tensor("x"));
      assertTrue(e.getMessage().contains("has no tensor \"x\" among its 3"), e.getMessage());
    }
  }

  @Test
  void atomicFilesReplaceWhatWasThere() throws IOException {
    Path file = folder.resolve("state.json");
    AtomicFiles.write(file, "first");
    AtomicFiles.write(file, "é");
    assertEquals("é", Files.readString(file));
    assertEquals(List.of(file), Goldens.list(folder));
  }

  @Test
  void linesAreAppendedBehindTheLastWholeOne() throws IOException {
    Path file = folder.resolve("lines.jsonl");
    try (AppendedLines lines = AppendedLines.open(file)) {
      lines.append("{\"a\":1}");
      assertEquals("{\"a\":1}\n", Files.readString(file));
      assertThrows(IllegalArgumentException.class, () -> lines.append("a\nb"));
    }
    Files.writeString(file, "whole\n" + "torn".repeat(5000));
    try (AppendedLines lines = AppendedLines.open(file)) {
      lines.append("next");
    }
    assertEquals("whole\nnext\n", Files.readString(file));
    Files.writeString(file, "torn");
    AppendedLines.open(file).close();
    assertEquals("", Files.readString(file));
  }

  @Test
  void linesIntoAFolderThatIsNotThereAreRefused() {
    Path file = folder.resolve("nowhere").resolve("lines.jsonl");
    WriteException e = assertThrows(WriteException.class, () -> AppendedLines.open(file));
    assertTrue(e.getMessage().contains("does not exist"), e.getMessage());
    assertFalse(Files.exists(file));
  }

  private Path saveShards() {
    Path out = folder.resolve("shards");
    ModelDirectory.save(out, CONFIG, new ArrayList<>(List.of(A, B, C)), Map.of(), 20);
    return out;
  }

  private JsonNode saved(String config) {
    Path out = folder.resolve("saved");
    ModelDirectory.save(out, json(config), List.of(A), Map.of());
    return ModelDirectory.readConfig(out);
  }

  private ObjectNode json(String text) {
    return Json.parseObject(folder, text.replace('\'', '"').getBytes(StandardCharsets.UTF_8));
  }

  private static void editIndex(Path model, Consumer<ObjectNode> change) {
    Path file = model.resolve(WeightIndex.FILE_NAME);
    ObjectNode index = Json.readObject(file, 1 << 20);
    change.accept(index);
    AtomicFiles.write(file, index.toString());
  }

  private static FormatException refused(Path path) {
    FormatException e = assertThrows(FormatException.class, () -> ModelDirectory.open(path));
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    return e;
  }

  private static String fingerprint(Path path) {
    try (ModelDirectory model = ModelDirectory.open(path)) {
      return model.fingerprint();
    }
  }

  private static List<String> names(Path path) {
    try {
      return Goldens.list(path).stream().map(file -> file.getFileName().toString()).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
