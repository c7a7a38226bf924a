package dev.gatun.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelDirectory;
import dev.gatun.hf.Tokenizer;
import dev.gatun.model.ParameterLayout;
import dev.gatun.model.Parameters;
import dev.gatun.model.RandomWeights;
import dev.gatun.model.WeightFiles;
import dev.gatun.tensor.DType;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Makes a model directory where there was none: configuration, tokenizer and random weights. */
public final class ModelInit {
  private ModelInit() {}

  /**
   * Writes the directory, all of it or nothing.
   *
   * @param seed of the weights
   * @return the number of parameters
   * @throws ConfigException if {@code output} already holds a model
   */
  public static long write(NewModel model, NewTokenizer tokenizer, long seed, Path output) {
    if (Files.exists(output.resolve("config.json"))) {
      throw new ConfigException(
          "output_dir", output + " already holds a model; name another folder");
    }
    Map<String, byte[]> files = tokenizer.files(model.maxPositionEmbeddings());
    ObjectNode json = configFor(model, files);
    ModelConfig config = ModelConfig.parse(json, output.resolve("config.json"));
    ParameterLayout layout = ParameterLayout.of(config);
    try (Backend backend = Device.CPU.open(DeviceOptions.DEFAULT).backend();
        Parameters parameters = new Parameters(backend, "new weights", layout, DType.F32)) {
      RandomWeights.fill(backend, parameters, config, NewModel.INITIALIZER_RANGE, seed);
      ModelDirectory.save(output, json, WeightFiles.stored(backend, parameters), files);
    }
    return layout.parameterCount();
  }

  /** The configuration, with size and special tokens of the tokenizer in these files. */
  private static ObjectNode configFor(NewModel model, Map<String, byte[]> files) {
    try (Tokenizer tokenizer = Tokenizer.of(files)) {
      return model.config(
          tokenizer.vocabSize(),
          tokenizer.bosTokenId(),
          tokenizer.eosTokenId(),
          tokenizer.padTokenId());
    }
  }
}
