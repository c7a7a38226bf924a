package dev.gatun.train;

import dev.gatun.backend.Backend;
import dev.gatun.hf.ModelConfig;
import dev.gatun.model.Parameters;
import java.nio.file.Path;

/** A model that training starts from: it is known, but its weights are not loaded yet. */
interface StartModel extends AutoCloseable {
  ModelConfig config();

  /** Fills every parameter, on the device and in the type that they have. */
  void load(Backend backend, Parameters parameters);

  /** Writes trained parameters as a model directory, with what else belongs to this model. */
  void save(Backend backend, Parameters parameters, Path output);

  @Override
  void close();
}
