package dev.gatun.train;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import dev.gatun.train.BenchmarkReport.Spread;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.OptionalLong;

/**
 * What a benchmark of ops measured, and on what.
 *
 * @param model title of the model whose sizes they have
 * @param precision storage type of weights and activations
 * @param tokens rows of an activation
 * @param backend {@code Backend.description()}
 * @param copyBytesPerSecond of a copy that no cache holds, read and write
 * @param peakFlopsPerSecond of large matrix products of this precision
 * @param peakBytes largest memory in use; empty where the system does not tell
 */
public record OpsReport(
    String model,
    Precision precision,
    long tokens,
    String backend,
    double copyBytesPerSecond,
    double peakFlopsPerSecond,
    OptionalLong peakBytes,
    List<Op> ops) {
  private static final JsonFactory JSON = new JsonFactory();

  /** Copies the ops. */
  public OpsReport {
    ops = List.copyOf(ops);
  }

  /**
   * An op.
   *
   * @param seconds of one call, over the rounds
   * @param bytes that it cannot avoid to move
   * @param flops of matrix products and attention; 0 of other ops
   * @param shareOfCopy bytes in the median round over those of a copy that no cache holds
   * @param shareOfPeak flops in the median round over those of large matrix products
   */
  public record Op(
      String name,
      Spread seconds,
      double bytes,
      double flops,
      double shareOfCopy,
      double shareOfPeak) {
    /** In the median round. */
    public double bytesPerSecond() {
      return bytes / seconds.median();
    }

    /** In the median round. */
    public double flopsPerSecond() {
      return flops / seconds.median();
    }
  }

  /** One object; seconds, bytes and floating-point operations. */
  public String toJson() {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = JSON.createGenerator(text)) {
      json.writeStartObject();
      json.writeStringField("model", model);
      json.writeStringField("dtype", precision.toString());
      json.writeNumberField("tokens", tokens);
      json.writeStringField("backend", backend);
      json.writeNumberField("copy_bytes_per_second", copyBytesPerSecond);
      json.writeNumberField("peak_flops_per_second", peakFlopsPerSecond);
      if (peakBytes.isPresent()) {
        json.writeNumberField("peak_bytes", peakBytes.getAsLong());
      } else {
        json.writeNullField("peak_bytes");
      }
      json.writeArrayFieldStart("ops");
      for (Op op : ops) {
        json.writeStartObject();
        json.writeStringField("name", op.name());
        BenchmarkReport.spread(json, "seconds", op.seconds());
        json.writeNumberField("bytes", op.bytes());
        json.writeNumberField("flops", op.flops());
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e); // a StringWriter does not fail
    }
    return text.toString();
  }
}
