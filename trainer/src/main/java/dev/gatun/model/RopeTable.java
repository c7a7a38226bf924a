package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.RopeConfig;
import dev.gatun.hf.RopeConfig.Dynamic;
import dev.gatun.hf.RopeConfig.Linear;
import dev.gatun.hf.RopeConfig.Llama3;
import dev.gatun.hf.RopeConfig.RampBounds;
import dev.gatun.hf.RopeConfig.Unscaled;
import dev.gatun.hf.RopeConfig.Yarn;

/**
 * Cosines and sines of the rotary embedding, {@code [positions, headDim / 2]} each, row-major, f32.
 *
 * <p>Computed step by step in f32 as transformers 5.18 does ({@code modeling_rope_utils.py} and
 * {@code LlamaRotaryEmbedding.forward}), with every power, cosine and sine correctly rounded from
 * double; torch's own are within 1 ulp of that.
 */
public final class RopeTable {
  private final int positions;
  private final int pairs;
  private final float[] cos;
  private final float[] sin;

  private RopeTable(int positions, int pairs, float[] cos, float[] sin) {
    this.positions = positions;
    this.pairs = pairs;
    this.cos = cos;
    this.sin = sin;
  }

  /**
   * The table for positions 0 to {@code positions - 1} of a model that has RoPE.
   *
   * @throws IllegalArgumentException for more positions than a model with dynamic scaling has:
   *     there, the frequencies would depend on the length of each text
   */
  public static RopeTable of(ModelConfig config, int positions) {
    RopeConfig rope = config.rope();
    if (rope == null) {
      throw new IllegalArgumentException(
          config.family().modelType() + " has no rotary embedding, so no table of it");
    }
    if (rope.scaling() instanceof Dynamic && positions > config.maxPositions()) {
      throw new IllegalArgumentException(
          "dynamic RoPE for "
              + positions
              + " positions, expected at most the model's "
              + config.maxPositions()
              + ": beyond, its frequencies change with the length of each text");
    }
    float[] frequencies = inverseFrequencies(rope, config.headDim());
    float factor = rope.scaling() instanceof Yarn yarn ? (float) yarn.attentionFactor() : 1;
    int pairs = frequencies.length;
    float[] cos = new float[Math.multiplyExact(positions, pairs)];
    float[] sin = new float[cos.length];
    for (int position = 0; position < positions; position++) {
      for (int pair = 0; pair < pairs; pair++) {
        float angle = position * frequencies[pair];
        cos[position * pairs + pair] = (float) Math.cos(angle) * factor;
        sin[position * pairs + pair] = (float) Math.sin(angle) * factor;
      }
    }
    return new RopeTable(positions, pairs, cos, sin);
  }

  /** Rows of the tables. */
  public int positions() {
    return positions;
  }

  /** Columns of the tables: half the size of a head. */
  public int pairs() {
    return pairs;
  }

  /** {@code [positions, pairs]}; owned by this table, not to be changed. */
  public float[] cos() {
    return cos;
  }

  /** {@code [positions, pairs]}; owned by this table, not to be changed. */
  public float[] sin() {
    return sin;
  }

  /** Radians per position of each pair, {@code [headDim / 2]}. */
  static float[] inverseFrequencies(RopeConfig rope, int headDim) {
    int pairs = headDim / 2;
    float[] wavelengths = new float[pairs]; // theta^(2i / headDim)
    float[] frequencies = new float[pairs];
    for (int i = 0; i < pairs; i++) {
      float exponent = (float) (2 * i) / headDim;
      wavelengths[i] = (float) Math.pow((float) rope.theta(), exponent);
      frequencies[i] = 1 / wavelengths[i];
    }
    switch (rope.scaling()) {
      case Unscaled _, Dynamic _ -> {}
      case Linear linear -> {
        for (int i = 0; i < pairs; i++) {
          frequencies[i] /= (float) linear.factor();
        }
      }
      case Llama3 llama3 -> stretchByWavelength(frequencies, llama3);
      case Yarn yarn -> blendByPair(frequencies, wavelengths, rope.theta(), headDim, yarn);
    }
    return frequencies;
  }

  /** {@code _compute_llama3_parameters}. */
  private static void stretchByWavelength(float[] frequencies, Llama3 llama3) {
    float factor = (float) llama3.factor();
    float low = (float) llama3.lowFreqFactor();
    float range = (float) (llama3.highFreqFactor() - llama3.lowFreqFactor());
    int original = llama3.originalMaxPositions();
    float longest = (float) (original / llama3.lowFreqFactor());
    float shortest = (float) (original / llama3.highFreqFactor());
    for (int i = 0; i < frequencies.length; i++) {
      float frequency = frequencies[i];
      float wavelength = 1 / frequency * (float) (2 * Math.PI);
      if (wavelength > longest) {
        frequencies[i] = frequency / factor;
      } else if (wavelength >= shortest) {
        float smooth = (1 / wavelength * original - low) / range;
        frequencies[i] = (1 - smooth) * frequency / factor + smooth * frequency;
      }
    }
  }

  /** {@code _compute_yarn_parameters}. */
  private static void blendByPair(
      float[] frequencies, float[] wavelengths, double theta, int headDim, Yarn yarn) {
    double low = pairThatTurns(yarn.betaFast(), theta, headDim, yarn.originalMaxPositions());
    double high = pairThatTurns(yarn.betaSlow(), theta, headDim, yarn.originalMaxPositions());
    if (yarn.rampBounds() == RampBounds.TRUNCATED) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, headDim - 1);
    if (low == high) {
      high += 0.001; // transformers' way to divide by no zero
    }
    for (int i = 0; i < frequencies.length; i++) {
      float ramp = Math.clamp((i - (float) low) / (float) (high - low), 0f, 1f);
      float kept = 1 - ramp;
      float stretched = 1 / ((float) yarn.factor() * wavelengths[i]);
      frequencies[i] = stretched * (1 - kept) + frequencies[i] * kept;
    }
  }

  /**
   * The pair, as a real number, that makes {@code turns} full turns in {@code length} positions.
   */
  private static double pairThatTurns(double turns, double theta, int headDim, int length) {
    return headDim * Math.log(length / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  }
}
