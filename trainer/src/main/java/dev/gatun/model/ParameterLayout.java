package dev.gatun.model;

import dev.gatun.hf.ModelConfig;
import dev.gatun.hf.ModelConfig.Family;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where each parameter of a model lies inside the slab of a role (policy, reference, gradient,
 * moments). Every role uses the same layout, so an optimizer step, a norm or a checkpoint is one
 * pass over one range.
 *
 * <p>Matrices come first, then norms and biases, because weight decay applies to the former only:
 * the decayed elements are {@code [0, decayCount)}. Projections that share their input (q, k, v;
 * gate, up) lie end to end, so that one matrix product serves them all.
 */
public final class ParameterLayout {
  /** Groups start at multiples of this many elements: 64 bytes in the narrowest storage type. */
  private static final long ALIGNMENT = 32;

  private final Map<String, Parameter> parameters = new LinkedHashMap<>();
  private final long decayCount;
  private final long elementCount;
  private long end;

  private ParameterLayout(List<List<Parameter>> matrices, List<List<Parameter>> vectors) {
    matrices.forEach(this::place);
    align();
    decayCount = end;
    vectors.forEach(this::place);
    align();
    elementCount = end;
  }

  /** The layout of a model. */
  public static ParameterLayout of(ModelConfig config) {
    return new Builder(config).build();
  }

  /** All parameters, in slab order. */
  public Iterable<Parameter> parameters() {
    return parameters.values();
  }

  /** The parameter of this Hugging Face name. */
  public Parameter get(String name) {
    Parameter parameter = parameters.get(name);
    if (parameter == null) {
      throw new IllegalArgumentException("no parameter " + name);
    }
    return parameter;
  }

  public boolean contains(String name) {
    return parameters.containsKey(name);
  }

  /** Elements of a slab, padding included. */
  public long elementCount() {
    return elementCount;
  }

  /** Elements that weight decay applies to: the first ones of a slab. */
  public long decayCount() {
    return decayCount;
  }

  /** Parameters as people count them: without padding. */
  public long parameterCount() {
    return parameters.values().stream().mapToLong(Parameter::elementCount).sum();
  }

  private void place(List<Parameter> group) {
    align();
    for (Parameter parameter : group) {
      parameters.put(parameter.name(), new Parameter(parameter.name(), parameter.shape(), end));
      end = Math.addExact(end, parameter.elementCount());
    }
  }

  private void align() {
    end = Math.multiplyExact(Math.ceilDiv(end, ALIGNMENT), ALIGNMENT);
  }

  /** Walks the model once, in the order of its forward pass. */
  private static final class Builder {
    private final ModelConfig config;
    private final TensorNames names;
    private final List<List<Parameter>> matrices = new ArrayList<>();
    private final List<List<Parameter>> vectors = new ArrayList<>();
    private String prefix = "";

    Builder(ModelConfig config) {
      this.config = config;
      this.names = TensorNames.of(config);
    }

    ParameterLayout build() {
      long hidden = config.hiddenSize();
      long queries = (long) config.numHeads() * config.headDim();
      long keys = (long) config.numKeyValueHeads() * config.headDim();
      long width = config.intermediateSize();
      boolean gpt2 = config.family() == Family.GPT2;

      prefix = names.prefix();
      embedding(names.embedding(), config.vocabSize());
      if (names.positionEmbedding() != null) {
        embedding(names.positionEmbedding(), config.maxPositions());
      }
      for (int i = 0; i < config.numLayers(); i++) {
        prefix = names.layer(i);
        norm(names.attentionNorm(), hidden);
        if (gpt2) {
          linear(names.qkv(), hidden, true, queries + 2 * keys);
        } else {
          linear(names.qkv(), hidden, config.attentionBias(), queries, keys, keys);
        }
        if (config.qkNorm()) {
          norm(names.queryNorm(), config.headDim());
          norm(names.keyNorm(), config.headDim());
        }
        linear(List.of(names.attentionOutput()), queries, config.attentionOutputBias(), hidden);
        if (names.postAttentionNorm() != null) {
          norm(names.postAttentionNorm(), hidden);
        }
        norm(names.mlpNorm(), hidden);
        if (gpt2) {
          linear(names.gateUp(), hidden, true, width);
        } else {
          linear(names.gateUp(), hidden, config.mlpBias(), width, width);
        }
        linear(List.of(names.down()), width, config.mlpBias(), hidden);
        if (names.postMlpNorm() != null) {
          norm(names.postMlpNorm(), hidden);
        }
      }
      prefix = names.prefix();
      norm(names.finalNorm(), hidden);
      if (!config.tieWordEmbeddings()) {
        prefix = "";
        embedding(names.head(), config.vocabSize());
      }
      return new ParameterLayout(matrices, vectors);
    }

    private void embedding(String name, long rows) {
      matrices.add(List.of(parameter(name + ".weight", rows, config.hiddenSize())));
    }

    /** Projections of one input, end to end. */
    private void linear(List<String> projections, long in, boolean bias, long... outs) {
      List<Parameter> weights = new ArrayList<>();
      List<Parameter> biases = new ArrayList<>();
      for (int i = 0; i < outs.length; i++) {
        String name = projections.get(i);
        weights.add(
            config.family() == Family.GPT2
                ? parameter(name + ".weight", in, outs[i])
                : parameter(name + ".weight", outs[i], in));
        biases.add(parameter(name + ".bias", outs[i]));
      }
      matrices.add(weights);
      if (bias) {
        vectors.add(biases);
      }
    }

    private void norm(String name, long dim) {
      vectors.add(List.of(parameter(name + ".weight", dim)));
      if (config.family() == Family.GPT2) {
        vectors.add(List.of(parameter(name + ".bias", dim)));
      }
    }

    private Parameter parameter(String name, long... shape) {
      return new Parameter(prefix + name, shape, 0);
    }
  }
}
