package dev.gatun.selftest;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.List;

/**
 * All that a self-test found.
 *
 * @param backend {@code Backend.description()}
 * @param trainedAgainst description of the backend that the training runs were compared with
 */
public record SelfTestReport(
    String backend, String trainedAgainst, double seconds, List<SelfTestResult> results) {
  private static final JsonFactory JSON = new JsonFactory();

  /** Copies the results. */
  public SelfTestReport {
    results = List.copyOf(results);
  }

  public boolean passed() {
    return results.stream().allMatch(SelfTestResult::passed);
  }

  /** Forms that ran, over all results. */
  public long forms() {
    return results.stream().mapToLong(SelfTestResult::forms).sum();
  }

  /**
   * One object. An infinite error is the string {@code "Infinity"}, which JSON lacks a number for.
   */
  public String toJson() {
    StringWriter text = new StringWriter();
    try (JsonGenerator json = JSON.createGenerator(text)) {
      json.writeStartObject();
      json.writeStringField("backend", backend);
      json.writeStringField("trained_against", trainedAgainst);
      json.writeBooleanField("passed", passed());
      json.writeNumberField("seconds", seconds);
      json.writeArrayFieldStart("results");
      for (SelfTestResult result : results) {
        json.writeStartObject();
        json.writeStringField("name", result.name());
        json.writeStringField("dtype", result.dtype().toString());
        json.writeNumberField("forms", result.forms());
        json.writeNumberField("error", result.error());
        json.writeStringField("worst", result.worst());
        json.writeBooleanField("passed", result.passed());
        json.writeArrayFieldStart("findings");
        for (String finding : result.findings()) {
          json.writeString(finding);
        }
        json.writeEndArray();
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
