package dev.gatun.report;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * Writes {@code metrics.jsonl}: one object per log line, {@code step} first, then the metrics in
 * TRL's order, unrounded; at the end one with transformers' {@code train_*} figures and the storage
 * type of weights and activations. A line is with the operating system before the next step begins.
 * Numbers that JSON lacks are the strings {@code "NaN"}, {@code "Infinity"} and {@code
 * "-Infinity"}.
 */
public final class MetricsJsonl implements MetricsListener, AutoCloseable {
  private static final JsonFactory JSON = new JsonFactory();

  private final Path file;
  private final Writer writer;
  private @Nullable RunPlan plan;

  /**
   * Opens the file, replacing what it held.
   *
   * @throws UncheckedIOException if the file cannot be written
   */
  public static MetricsJsonl create(Path file) {
    return new MetricsJsonl(file, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING);
  }

  /**
   * Opens the file to write after what it holds.
   *
   * @throws UncheckedIOException if the file cannot be written
   */
  public static MetricsJsonl append(Path file) {
    return new MetricsJsonl(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private MetricsJsonl(Path file, StandardOpenOption create, StandardOpenOption mode) {
    this.file = file;
    try {
      this.writer =
          Files.newBufferedWriter(
              file, StandardCharsets.UTF_8, create, StandardOpenOption.WRITE, mode);
    } catch (IOException e) {
      throw failed(e);
    }
  }

  @Override
  public void onStart(RunPlan started) {
    plan = started;
  }

  @Override
  public void onLog(LogLine line) {
    write(json(line));
  }

  @Override
  public void onEnd(RunSummary summary) {
    write(json(summary));
  }

  @Override
  public void close() {
    try {
      writer.close();
    } catch (IOException e) {
      throw failed(e);
    }
  }

  private void write(String line) {
    try {
      writer.write(line);
      writer.write('\n');
      writer.flush();
    } catch (IOException e) {
      throw failed(e);
    }
  }

  private UncheckedIOException failed(IOException cause) {
    return new UncheckedIOException(file + ": cannot write metrics: " + cause.getMessage(), cause);
  }

  private static String json(LogLine line) {
    return json(
        generator -> {
          generator.writeNumberField("step", line.step());
          writeMetrics(generator, line);
        });
  }

  private String json(RunSummary summary) {
    RunPlan run = plan;
    return json(
        generator -> {
          generator.writeNumberField("step", summary.steps());
          writeSummary(generator, summary);
          if (run != null) {
            generator.writeStringField("dtype", run.dtype());
          }
        });
  }

  static void writeMetrics(JsonGenerator generator, LogLine line) throws IOException {
    for (var metric : line.values().entrySet()) {
      generator.writeNumberField(metric.getKey().toString(), metric.getValue());
    }
  }

  static void writeSummary(JsonGenerator generator, RunSummary summary) throws IOException {
    generator.writeNumberField("train_runtime", summary.seconds());
    generator.writeNumberField("train_samples_per_second", summary.perSecond(summary.rows()));
    generator.writeNumberField("train_steps_per_second", summary.perSecond(summary.steps()));
    generator.writeNumberField("total_flos", summary.usefulFlops());
    generator.writeNumberField("train_loss", summary.meanLoss());
    generator.writeNumberField("epoch", summary.epoch());
  }

  /** Writes the fields of one object. */
  @FunctionalInterface
  interface Fields {
    void write(JsonGenerator generator) throws IOException;
  }

  static String json(Fields fields) {
    StringWriter text = new StringWriter();
    try (JsonGenerator generator = JSON.createGenerator(text)) {
      generator.writeStartObject();
      fields.write(generator);
      generator.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e); // a StringWriter does not fail
    }
    return text.toString();
  }
}
