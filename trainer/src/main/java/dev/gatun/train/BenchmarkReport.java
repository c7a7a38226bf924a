package dev.gatun.train;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import java.util.stream.DoubleStream;

/**
 * What a benchmark measured, and on what.
 *
 * @param precision storage type of weights and activations
 * @param parameters of the model
 * @param backend {@code Backend.description()}
 * @param peakFlopsPerSecond of large matrix products of this precision, measured beside the rounds
 * @param referenceSeconds that scoring the reference before training took; NaN where nothing was
 * @param peakBytes largest memory in use; empty where the system does not tell
 */
public record BenchmarkReport(
    BenchmarkConfig config,
    Precision precision,
    long parameters,
    String backend,
    double peakFlopsPerSecond,
    double referenceSeconds,
    OptionalLong peakBytes,
    List<BenchmarkRound> rounds) {
  private static final JsonFactory JSON = new JsonFactory();
  private static final double NANOS = 1e-9;

  /** Copies the rounds. */
  public BenchmarkReport {
    rounds = List.copyOf(rounds);
    if (rounds.isEmpty()) {
      throw new IllegalArgumentException("no rounds");
    }
  }

  /** The middle of all rounds and their extremes. */
  public record Spread(double median, double lowest, double highest) {
    static Spread of(DoubleStream values) {
      double[] sorted = values.sorted().toArray();
      int middle = sorted.length / 2;
      double median =
          sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
      return new Spread(median, sorted[0], sorted[sorted.length - 1]);
    }
  }

  /** A quantity over all rounds. */
  public Spread over(ToDoubleFunction<BenchmarkRound> quantity) {
    return Spread.of(rounds.stream().mapToDouble(quantity));
  }

  /** Wall time of a step. */
  public Spread stepSeconds() {
    return over(round -> round.seconds() / config.steps());
  }

  /** Useful work over what the device could do at its peak. */
  public Spread mfu() {
    return over(round -> round.flopsPerSecond() / peakFlopsPerSecond);
  }

  /** Useful floating-point operations of a pair. */
  public double flopsPerPair() {
    return rounds.getFirst().usefulFlops() / rounds.getFirst().pairs();
  }

  /** The names of all phases, in the order in which they begin. */
  public Set<String> phases() {
    Set<String> names = new LinkedHashSet<>();
    rounds.forEach(round -> names.addAll(round.phases().nanos().keySet()));
    return names;
  }

  /** Time of a phase in a step. */
  public Spread phaseSeconds(String name) {
    return over(round -> NANOS * round.phases().nanos().getOrDefault(name, 0L) / config.steps());
  }

  /** One object; seconds, bytes and floating-point operations. */
  public String toJson() {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = JSON.createGenerator(text)) {
      json.writeStartObject();
      json.writeStringField("model", config.model().title());
      json.writeNumberField("parameters", parameters);
      json.writeStringField("backend", backend);
      json.writeStringField("dtype", precision.toString());
      json.writeStringField("loss_type", config.loss().toString());
      json.writeStringField("reference", config.reference().toString());
      json.writeStringField("prompt_tokens", config.promptTokens().toString());
      json.writeStringField("answer_tokens", config.answerTokens().toString());
      json.writeNumberField("pairs_per_step", config.pairsPerStep());
      json.writeBooleanField("gradient_checkpointing", config.gradientCheckpointing());
      json.writeNumberField("steps", config.steps());
      json.writeNumberField("warmup_steps", config.warmUpSteps());
      json.writeNumberField("seed", config.seed());
      spread(json, "pairs_per_second", over(BenchmarkRound::pairsPerSecond));
      spread(json, "tokens_per_second", over(BenchmarkRound::tokensPerSecond));
      spread(json, "step_seconds", stepSeconds());
      json.writeNumberField("flops_per_pair", flopsPerPair());
      json.writeNumberField("peak_flops_per_second", peakFlopsPerSecond);
      spread(json, "mfu", mfu());
      json.writeObjectFieldStart("phase_seconds");
      for (String phase : phases()) {
        spread(json, phase, phaseSeconds(phase));
      }
      json.writeEndObject();
      if (Double.isNaN(referenceSeconds)) {
        json.writeNullField("reference_seconds");
      } else {
        json.writeNumberField("reference_seconds", referenceSeconds);
      }
      if (peakBytes.isPresent()) {
        json.writeNumberField("peak_bytes", peakBytes.getAsLong());
      } else {
        json.writeNullField("peak_bytes");
      }
      json.writeArrayFieldStart("rounds");
      for (BenchmarkRound round : rounds) {
        round(json, round);
      }
      json.writeEndArray();
      json.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e); // a StringWriter does not fail
    }
    return text.toString();
  }

  static void spread(JsonGenerator json, String name, Spread spread) throws IOException {
    json.writeObjectFieldStart(name);
    json.writeNumberField("median", spread.median());
    json.writeNumberField("lowest", spread.lowest());
    json.writeNumberField("highest", spread.highest());
    json.writeEndObject();
  }

  private static void round(JsonGenerator json, BenchmarkRound round) throws IOException {
    json.writeStartObject();
    json.writeNumberField("seconds", round.seconds());
    json.writeNumberField("pairs", round.pairs());
    json.writeNumberField("tokens", round.tokens());
    json.writeNumberField("tokens_computed", round.tokensComputed());
    json.writeNumberField("useful_flops", round.usefulFlops());
    json.writeObjectFieldStart("phase_seconds");
    for (Map.Entry<String, Long> phase : round.phases().nanos().entrySet()) {
      json.writeNumberField(phase.getKey(), NANOS * phase.getValue());
    }
    json.writeEndObject();
    json.writeEndObject();
  }
}
