package dev.gatun.backend;

import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.bindings.kernels.gatun_kernels;
import dev.gatun.bindings.kernels.gatun_preference_options;
import dev.gatun.tensor.DType;
import dev.gatun.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The kernel table of a library: one method per row of {@code struct gatun_kernels}, whose header
 * comment is its specification. Arguments come in the order of the header, but for workspace and
 * stream, which belong to the backend. Extents and types are not checked here but in {@code
 * dev.gatun.op}; what the library still refuses becomes a {@link NativeException}.
 */
public final class Kernels {
  private final MemorySegment table;
  private final Workspace workspace;
  private final MemorySegment stream;
  private final Supplier<String> advice;

  /**
   * The methods of a table.
   *
   * @param stream what rows get as their stream
   * @param advice asked for after a failure: what to add to the library's words
   */
  Kernels(MemorySegment table, Workspace workspace, MemorySegment stream, Supplier<String> advice) {
    this.table = table;
    this.workspace = workspace;
    this.stream = stream;
    this.advice = advice;
  }

  /**
   * The table that a library returned.
   *
   * @throws BackendUnavailableException if it is of another version than the bindings
   */
  static MemorySegment table(String backend, MemorySegment pointer) {
    MemorySegment table = pointer.asSlice(0, gatun_kernels.layout());
    int abiVersion = gatun_kernels.abi_version(table);
    if (abiVersion != GatunNative.GATUN_ABI_VERSION()) {
      throw new BackendUnavailableException(
          "%s: kernel table has ABI version %d, expected %d; rebuild the native libraries"
              .formatted(backend, abiVersion, GatunNative.GATUN_ABI_VERSION()));
    }
    return table;
  }

  /** Bytes that suffice as workspace of any row called with at most these extents. */
  long workspaceBytes(long rows, long columns) {
    return gatun_kernels.workspace_bytes.invoke(
        gatun_kernels.workspace_bytes(table), rows, columns);
  }

  /** {@code dst[i] = src[i]}, rounded to nearest even. */
  public void cast(Tensor dst, Tensor src, long count, DType dstDtype, DType srcDtype) {
    check(
        "cast",
        gatun_kernels.cast.invoke(
            gatun_kernels.cast(table),
            at(dst),
            at(src),
            count,
            dstDtype.code(),
            srcDtype.code(),
            stream));
  }

  /** {@code dst = (1 - alpha) dst + alpha src.} */
  public void mix(Tensor dst, Tensor src, long count, double alpha, DType dtype) {
    check(
        "mix",
        gatun_kernels.mix.invoke(
            gatun_kernels.mix(table), at(dst), at(src), count, alpha, dtype.code(), stream));
  }

  /** {@code y[t] = scale * tokenTable[tokenIds[t]] + positionTable[positions[t]].} */
  public void embeddingForward(
      Tensor y,
      Tensor tokenTable,
      @Nullable Tensor positionTable,
      Tensor tokenIds,
      Tensor positions,
      long tokens,
      long hidden,
      long vocab,
      long maxPositions,
      float scale,
      DType dtype) {
    check(
        "embedding_forward",
        gatun_kernels.embedding_forward.invoke(
            gatun_kernels.embedding_forward(table),
            at(y),
            at(tokenTable),
            at(positionTable),
            at(tokenIds),
            at(positions),
            tokens,
            hidden,
            vocab,
            maxPositions,
            scale,
            dtype.code(),
            stream));
  }

  /** {@code dTokenTable[tokenIds[t]] += scale * dY[t]; dPositionTable[positions[t]] += dY[t].} */
  public void embeddingBackward(
      Tensor dTokenTable,
      @Nullable Tensor dPositionTable,
      Tensor dY,
      Tensor tokenIds,
      Tensor positions,
      long tokens,
      long hidden,
      long vocab,
      long maxPositions,
      float scale,
      DType dtype) {
    check(
        "embedding_backward",
        gatun_kernels.embedding_backward.invoke(
            gatun_kernels.embedding_backward(table),
            at(dTokenTable),
            at(dPositionTable),
            at(dY),
            at(tokenIds),
            at(positions),
            tokens,
            hidden,
            vocab,
            maxPositions,
            scale,
            dtype.code(),
            workspace("embedding_backward", tokens, hidden),
            stream));
  }

  /** {@code y = s * rstd * (weight + weightOffset), s = x + delta.} */
  public void rmsnormForward(
      Tensor y,
      @Nullable Tensor sum,
      @Nullable Tensor rstd,
      Tensor x,
      @Nullable Tensor delta,
      Tensor weight,
      long tokens,
      long groups,
      long dim,
      long yStride,
      long xStride,
      float eps,
      float weightOffset,
      DType dtype) {
    check(
        "rmsnorm_forward",
        gatun_kernels.rmsnorm_forward.invoke(
            gatun_kernels.rmsnorm_forward(table),
            at(y),
            at(sum),
            at(rstd),
            at(x),
            at(delta),
            at(weight),
            tokens,
            groups,
            dim,
            yStride,
            xStride,
            eps,
            weightOffset,
            dtype.code(),
            stream));
  }

  /** Gradient of {@link #rmsnormForward}. */
  public void rmsnormBackward(
      Tensor dX,
      Tensor dWeight,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor rstd,
      @Nullable Tensor dResidual,
      long tokens,
      long groups,
      long dim,
      long dXStride,
      long dYStride,
      long xStride,
      float weightOffset,
      DType dtype) {
    check(
        "rmsnorm_backward",
        gatun_kernels.rmsnorm_backward.invoke(
            gatun_kernels.rmsnorm_backward(table),
            at(dX),
            at(dWeight),
            at(dY),
            at(x),
            at(weight),
            at(rstd),
            at(dResidual),
            tokens,
            groups,
            dim,
            dXStride,
            dYStride,
            xStride,
            weightOffset,
            dtype.code(),
            workspace("rmsnorm_backward", tokens, groups * dim),
            stream));
  }

  /** {@code y = (s - mean) * rstd * weight + bias, s = x + delta.} */
  public void layernormForward(
      Tensor y,
      @Nullable Tensor sum,
      @Nullable Tensor mean,
      @Nullable Tensor rstd,
      Tensor x,
      @Nullable Tensor delta,
      Tensor weight,
      Tensor bias,
      long tokens,
      long dim,
      float eps,
      DType dtype) {
    check(
        "layernorm_forward",
        gatun_kernels.layernorm_forward.invoke(
            gatun_kernels.layernorm_forward(table),
            at(y),
            at(sum),
            at(mean),
            at(rstd),
            at(x),
            at(delta),
            at(weight),
            at(bias),
            tokens,
            dim,
            eps,
            dtype.code(),
            stream));
  }

  /** Gradient of {@link #layernormForward}. */
  public void layernormBackward(
      Tensor dX,
      Tensor dWeight,
      Tensor dBias,
      Tensor dY,
      Tensor x,
      Tensor weight,
      Tensor mean,
      Tensor rstd,
      @Nullable Tensor dResidual,
      long tokens,
      long dim,
      DType dtype) {
    check(
        "layernorm_backward",
        gatun_kernels.layernorm_backward.invoke(
            gatun_kernels.layernorm_backward(table),
            at(dX),
            at(dWeight),
            at(dBias),
            at(dY),
            at(x),
            at(weight),
            at(mean),
            at(rstd),
            at(dResidual),
            tokens,
            dim,
            dtype.code(),
            workspace("layernorm_backward", tokens, dim),
            stream));
  }

  /** {@code y = x + delta.} */
  public void residualForward(Tensor y, Tensor x, Tensor delta, long count, DType dtype) {
    check(
        "residual_forward",
        gatun_kernels.residual_forward.invoke(
            gatun_kernels.residual_forward(table),
            at(y),
            at(x),
            at(delta),
            count,
            dtype.code(),
            stream));
  }

  /** {@code dBias[c] += sum over rows of dY[r, c].} */
  public void biasBackward(
      Tensor dBias, Tensor dY, long rows, long columns, long dYStride, DType dtype) {
    check(
        "bias_backward",
        gatun_kernels.bias_backward.invoke(
            gatun_kernels.bias_backward(table),
            at(dBias),
            at(dY),
            rows,
            columns,
            dYStride,
            dtype.code(),
            workspace("bias_backward", rows, columns),
            stream));
  }

  /** Rotates q and k, and files k and v into the rows that attention reads. */
  public void ropeForward(
      Tensor qOut,
      Tensor kOut,
      Tensor vOut,
      Tensor q,
      Tensor k,
      Tensor v,
      @Nullable Tensor cos,
      @Nullable Tensor sin,
      Tensor positions,
      Tensor keyRows,
      Tensor keyCopyRows,
      long tokens,
      long heads,
      long kvHeads,
      long headDim,
      long qOutStride,
      long qStride,
      long kvStride,
      DType dtype) {
    check(
        "rope_forward",
        gatun_kernels.rope_forward.invoke(
            gatun_kernels.rope_forward(table),
            at(qOut),
            at(kOut),
            at(vOut),
            at(q),
            at(k),
            at(v),
            at(cos),
            at(sin),
            at(positions),
            at(keyRows),
            at(keyCopyRows),
            tokens,
            heads,
            kvHeads,
            headDim,
            qOutStride,
            qStride,
            kvStride,
            dtype.code(),
            stream));
  }

  /** The transpose of {@link #ropeForward}. */
  public void ropeBackward(
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dQOut,
      Tensor dKOut,
      Tensor dVOut,
      @Nullable Tensor cos,
      @Nullable Tensor sin,
      Tensor positions,
      Tensor keyRows,
      Tensor keyCopyRows,
      long tokens,
      long heads,
      long kvHeads,
      long headDim,
      long qStride,
      long kvStride,
      long qOutStride,
      DType dtype) {
    check(
        "rope_backward",
        gatun_kernels.rope_backward.invoke(
            gatun_kernels.rope_backward(table),
            at(dQ),
            at(dK),
            at(dV),
            at(dQOut),
            at(dKOut),
            at(dVOut),
            at(cos),
            at(sin),
            at(positions),
            at(keyRows),
            at(keyCopyRows),
            tokens,
            heads,
            kvHeads,
            headDim,
            qStride,
            kvStride,
            qOutStride,
            dtype.code(),
            stream));
  }

  /**
   * {@code out = softmax(scale * q k^T) v} over segments.
   *
   * @param segments i32 on the device, as hostSegments
   * @param hostSegments four numbers each: queryBegin, queryLength, keyBegin, keyLength
   */
  public void attentionForward(
      Tensor out,
      @Nullable Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      long heads,
      long kvHeads,
      long headDim,
      long qStride,
      float scale,
      float softcap,
      long window,
      DType dtype) {
    int status;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment host = arena.allocateFrom(ValueLayout.JAVA_INT, hostSegments);
      status =
          gatun_kernels.attention_forward.invoke(
              gatun_kernels.attention_forward(table),
              at(out),
              at(lse),
              at(q),
              at(k),
              at(v),
              at(segments),
              host,
              hostSegments.length / 4L,
              heads,
              kvHeads,
              headDim,
              qStride,
              scale,
              softcap,
              window,
              dtype.code(),
              workspace("attention_forward", Math.max(q.dim(0), k.dim(0)), heads * headDim),
              stream);
    }
    check("attention_forward", status);
  }

  /**
   * Gradient of {@link #attentionForward}.
   *
   * @param segments i32 on the device, as hostSegments
   * @param hostSegments four numbers each: queryBegin, queryLength, keyBegin, keyLength
   */
  public void attentionBackward(
      Tensor dQ,
      Tensor dK,
      Tensor dV,
      Tensor dOut,
      Tensor out,
      Tensor lse,
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor segments,
      int[] hostSegments,
      long heads,
      long kvHeads,
      long headDim,
      long dQStride,
      long qStride,
      float scale,
      float softcap,
      long window,
      DType dtype) {
    int status;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment host = arena.allocateFrom(ValueLayout.JAVA_INT, hostSegments);
      status =
          gatun_kernels.attention_backward.invoke(
              gatun_kernels.attention_backward(table),
              at(dQ),
              at(dK),
              at(dV),
              at(dOut),
              at(out),
              at(lse),
              at(q),
              at(k),
              at(v),
              at(segments),
              host,
              hostSegments.length / 4L,
              heads,
              kvHeads,
              headDim,
              dQStride,
              qStride,
              scale,
              softcap,
              window,
              dtype.code(),
              workspace("attention_backward", Math.max(q.dim(0), k.dim(0)), heads * headDim),
              stream);
    }
    check("attention_backward", status);
  }

  /** {@code y = activation(gate) * up.} */
  public void swigluForward(
      Tensor y, Tensor gateUp, long rows, long width, int activation, DType dtype) {
    check(
        "swiglu_forward",
        gatun_kernels.swiglu_forward.invoke(
            gatun_kernels.swiglu_forward(table),
            at(y),
            at(gateUp),
            rows,
            width,
            activation,
            dtype.code(),
            stream));
  }

  /** Gradient of {@link #swigluForward}. */
  public void swigluBackward(
      Tensor dGateUp,
      @Nullable Tensor y,
      Tensor dY,
      Tensor gateUp,
      long rows,
      long width,
      int activation,
      DType dtype) {
    check(
        "swiglu_backward",
        gatun_kernels.swiglu_backward.invoke(
            gatun_kernels.swiglu_backward(table),
            at(dGateUp),
            at(y),
            at(dY),
            at(gateUp),
            rows,
            width,
            activation,
            dtype.code(),
            stream));
  }

  /** {@code y = gelu(x)}, tanh approximation. */
  public void geluForward(Tensor y, Tensor x, long count, DType dtype) {
    check(
        "gelu_forward",
        gatun_kernels.gelu_forward.invoke(
            gatun_kernels.gelu_forward(table), at(y), at(x), count, dtype.code(), stream));
  }

  /** Gradient of {@link #geluForward}. */
  public void geluBackward(
      Tensor dX, @Nullable Tensor y, Tensor dY, Tensor x, long count, DType dtype) {
    check(
        "gelu_backward",
        gatun_kernels.gelu_backward.invoke(
            gatun_kernels.gelu_backward(table),
            at(dX),
            at(y),
            at(dY),
            at(x),
            count,
            dtype.code(),
            stream));
  }

  /** {@code y[i] = x[rows[i]].} */
  public void gatherForward(Tensor y, Tensor x, Tensor rows, long numRows, long dim, DType dtype) {
    check(
        "gather_forward",
        gatun_kernels.gather_forward.invoke(
            gatun_kernels.gather_forward(table),
            at(y),
            at(x),
            at(rows),
            numRows,
            dim,
            dtype.code(),
            stream));
  }

  /** {@code dX = 0; dX[rows[i]] = dY[i].} */
  public void gatherBackward(
      Tensor dX, Tensor dY, Tensor rows, long numRows, long tokens, long dim, DType dtype) {
    check(
        "gather_backward",
        gatun_kernels.gather_backward.invoke(
            gatun_kernels.gather_backward(table),
            at(dX),
            at(dY),
            at(rows),
            numRows,
            tokens,
            dim,
            dtype.code(),
            stream));
  }

  /** Log-sum-exp, log-probabilities and statistics of rows of logits. */
  public void logprobForward(
      Tensor logProb,
      Tensor lse,
      @Nullable Tensor entropy,
      @Nullable Tensor argmax,
      @Nullable Tensor mean,
      @Nullable Tensor logSumSquare,
      Tensor logits,
      Tensor predictionBegin,
      Tensor targets,
      long rows,
      long vocab,
      long logitsStride,
      float softcap) {
    check(
        "logprob_forward",
        gatun_kernels.logprob_forward.invoke(
            gatun_kernels.logprob_forward(table),
            at(logProb),
            at(lse),
            at(entropy),
            at(argmax),
            at(mean),
            at(logSumSquare),
            at(logits),
            at(predictionBegin),
            at(targets),
            rows,
            vocab,
            logitsStride,
            softcap,
            stream));
  }

  /** Gradient of {@link #logprobForward}. */
  public void logprobBackward(
      Tensor dLogits,
      Tensor logits,
      Tensor lse,
      Tensor dLogProb,
      Tensor predictionBegin,
      Tensor targets,
      long rows,
      long vocab,
      long dLogitsStride,
      long logitsStride,
      float softcap,
      DType dtype) {
    check(
        "logprob_backward",
        gatun_kernels.logprob_backward.invoke(
            gatun_kernels.logprob_backward(table),
            at(dLogits),
            at(logits),
            at(lse),
            at(dLogProb),
            at(predictionBegin),
            at(targets),
            rows,
            vocab,
            dLogitsStride,
            logitsStride,
            softcap,
            dtype.code(),
            stream));
  }

  /**
   * The preference losses of pairs, and their gradients.
   *
   * @param losses values of {@code enum gatun_loss}
   * @param lossWeights as many
   * @param fDivergence a value of {@code enum gatun_f_divergence}
   */
  public void preference(
      Tensor loss,
      Tensor sums,
      Tensor dLogProb,
      Tensor logProb,
      @Nullable Tensor referenceLogProb,
      @Nullable Tensor logSumSquare,
      Tensor answerBegin,
      Tensor groupBegin,
      Tensor pairScale,
      Tensor sftScale,
      long pairs,
      long groups,
      int[] losses,
      float[] lossWeights,
      float beta,
      float labelSmoothing,
      float discopopTau,
      float simpoGamma,
      int fDivergence,
      float fAlpha,
      float ldAlpha,
      int useWeighting,
      int referenceFree) {
    int status;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment options = gatun_preference_options.allocate(arena);
      gatun_preference_options.num_losses(options, losses.length);
      for (int i = 0; i < losses.length; i++) {
        gatun_preference_options.losses(options, i, losses[i]);
        gatun_preference_options.loss_weights(options, i, lossWeights[i]);
      }
      gatun_preference_options.beta(options, beta);
      gatun_preference_options.label_smoothing(options, labelSmoothing);
      gatun_preference_options.discopop_tau(options, discopopTau);
      gatun_preference_options.simpo_gamma(options, simpoGamma);
      gatun_preference_options.f_divergence(options, fDivergence);
      gatun_preference_options.f_alpha(options, fAlpha);
      gatun_preference_options.ld_alpha(options, ldAlpha);
      gatun_preference_options.use_weighting(options, useWeighting);
      gatun_preference_options.reference_free(options, referenceFree);
      status =
          gatun_kernels.preference.invoke(
              gatun_kernels.preference(table),
              at(loss),
              at(sums),
              at(dLogProb),
              at(logProb),
              at(referenceLogProb),
              at(logSumSquare),
              at(answerBegin),
              at(groupBegin),
              at(pairScale),
              at(sftScale),
              pairs,
              groups,
              options,
              workspace("preference", Math.max(logProb.elementCount(), pairs), 1),
              stream);
    }
    check("preference", status);
  }

  /** {@code normAndScale = (norm, min(1, maxNorm / (norm + 1e-6)))}. */
  public void gradnorm(Tensor normAndScale, Tensor gradient, long count, float maxNorm) {
    check(
        "gradnorm",
        gatun_kernels.gradnorm.invoke(
            gatun_kernels.gradnorm(table),
            at(normAndScale),
            at(gradient),
            count,
            maxNorm,
            workspace("gradnorm", 1, 1),
            stream));
  }

  /** One step of {@code torch.optim.AdamW}. */
  public void adamw(
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor firstMoment,
      Tensor secondMoment,
      Tensor gradient,
      Tensor gradientScale,
      long count,
      long decayCount,
      double learningRate,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      double correction1,
      double correction2,
      long roundingSeed,
      DType dtype) {
    check(
        "adamw",
        gatun_kernels.adamw.invoke(
            gatun_kernels.adamw(table),
            at(weight),
            at(remainder),
            at(firstMoment),
            at(secondMoment),
            at(gradient),
            at(gradientScale),
            count,
            decayCount,
            learningRate,
            beta1,
            beta2,
            eps,
            weightDecay,
            correction1,
            correction2,
            roundingSeed,
            dtype.code(),
            stream));
  }

  /** One step of AdamW on moments of 8 bits. */
  public void adamw8bit(
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor firstMoment,
      Tensor secondMoment,
      Tensor firstScale,
      Tensor secondScale,
      Tensor gradient,
      Tensor gradientScale,
      long count,
      long decayCount,
      double learningRate,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      double correction1,
      double correction2,
      long roundingSeed,
      DType dtype) {
    check(
        "adamw_8bit",
        gatun_kernels.adamw_8bit.invoke(
            gatun_kernels.adamw_8bit(table),
            at(weight),
            at(remainder),
            at(firstMoment),
            at(secondMoment),
            at(firstScale),
            at(secondScale),
            at(gradient),
            at(gradientScale),
            count,
            decayCount,
            learningRate,
            beta1,
            beta2,
            eps,
            weightDecay,
            correction1,
            correction2,
            roundingSeed,
            dtype.code(),
            stream));
  }

  /** One step of {@code torch.optim.RMSprop}. */
  public void rmsprop(
      Tensor weight,
      @Nullable Tensor remainder,
      Tensor squareAverage,
      @Nullable Tensor buffer,
      Tensor gradient,
      Tensor gradientScale,
      long count,
      long decayCount,
      double learningRate,
      double alpha,
      double eps,
      double momentum,
      double weightDecay,
      DType dtype) {
    check(
        "rmsprop",
        gatun_kernels.rmsprop.invoke(
            gatun_kernels.rmsprop(table),
            at(weight),
            at(remainder),
            at(squareAverage),
            at(buffer),
            at(gradient),
            at(gradientScale),
            count,
            decayCount,
            learningRate,
            alpha,
            eps,
            momentum,
            weightDecay,
            dtype.code(),
            stream));
  }

  /** One step of {@code torch.optim.SGD}. */
  public void sgd(
      Tensor weight,
      @Nullable Tensor remainder,
      @Nullable Tensor buffer,
      Tensor gradient,
      Tensor gradientScale,
      long count,
      long decayCount,
      double learningRate,
      double momentum,
      double weightDecay,
      int firstStep,
      DType dtype) {
    check(
        "sgd",
        gatun_kernels.sgd.invoke(
            gatun_kernels.sgd(table),
            at(weight),
            at(remainder),
            at(buffer),
            at(gradient),
            at(gradientScale),
            count,
            decayCount,
            learningRate,
            momentum,
            weightDecay,
            firstStep,
            dtype.code(),
            stream));
  }

  /** {@code (weight, remainder) = source}, exact; without remainder, rounded. */
  public void splitMaster(
      Tensor weight, @Nullable Tensor remainder, Tensor source, long count, DType dtype) {
    check(
        "split_master",
        gatun_kernels.split_master.invoke(
            gatun_kernels.split_master(table),
            at(weight),
            at(remainder),
            at(source),
            count,
            dtype.code(),
            stream));
  }

  /** {@code destination = (weight, remainder)}. */
  public void joinMaster(
      Tensor destination, Tensor weight, @Nullable Tensor remainder, long count, DType dtype) {
    check(
        "join_master",
        gatun_kernels.join_master.invoke(
            gatun_kernels.join_master(table),
            at(destination),
            at(weight),
            at(remainder),
            count,
            dtype.code(),
            stream));
  }

  /** The name of a value of {@code enum gatun_status}. */
  static String symbol(int status) {
    if (status == GatunNative.GATUN_OK()) {
      return "GATUN_OK";
    } else if (status == GatunNative.GATUN_INVALID_ARGUMENT()) {
      return "GATUN_INVALID_ARGUMENT";
    } else if (status == GatunNative.GATUN_UNSUPPORTED()) {
      return "GATUN_UNSUPPORTED";
    } else if (status == GatunNative.GATUN_OUT_OF_MEMORY()) {
      return "GATUN_OUT_OF_MEMORY";
    } else if (status == GatunNative.GATUN_FAILED()) {
      return "GATUN_FAILED";
    }
    return "unknown status";
  }

  private static MemorySegment at(@Nullable Tensor tensor) {
    return tensor == null ? MemorySegment.NULL : tensor.address();
  }

  private MemorySegment workspace(String function, long rows, long columns) {
    return workspace.need(function, workspaceBytes(rows, columns));
  }

  private void check(String function, int status) {
    if (status != GatunNative.GATUN_OK()) {
      String text = gatun_kernels.last_error.invoke(gatun_kernels.last_error(table)).getString(0);
      throw new NativeException(function, status, symbol(status), text + advice.get());
    }
  }
}
