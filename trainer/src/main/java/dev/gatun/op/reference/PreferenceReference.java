package dev.gatun.op.reference;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The preference losses as TRL's DPOTrainer writes them, from log-probs per prediction; one loss of
 * weight 1. Gradients are differences of {@link #total}.
 *
 * @param loss TRL's name; {@code simpo} as its CPOTrainer
 * @param divergence TRL's name
 */
public record PreferenceReference(
    String loss,
    double beta,
    double labelSmoothing,
    double discopopTau,
    double simpoGamma,
    String divergence,
    double alpha,
    double ldAlpha,
    boolean useWeighting,
    boolean referenceFree) {

  /** Step of {@link #gradient}. */
  private static final double STEP = 1e-5;

  /** The arrays of a batch, as {@code Preference.forward} has them. */
  public record Batch(
      double[] reference,
      double[] logSumSquare,
      int[] answerBegin,
      int[] groupBegin,
      double[] pairScale,
      double[] sftScale) {
    int pairs() {
      return pairScale.length;
    }
  }

  /** Sum of the losses of all pairs; {@code weights} are WPO's, constants to a gradient. */
  public double total(double[] logProb, Batch batch, double[] weights) {
    return Arrays.stream(losses(logProb, batch, weights)).sum();
  }

  /**
   * Derivatives of {@link #total} by the log-probs of predictions {@code [begin, end)}, as central
   * differences; 0 elsewhere.
   */
  public double[] gradient(double[] logProb, Batch batch, double[] weights, int begin, int end) {
    double[] gradient = new double[logProb.length];
    double[] moved = logProb.clone();
    for (int n = begin; n < end; n++) {
      moved[n] = logProb[n] + STEP;
      double above = total(moved, batch, weights);
      moved[n] = logProb[n] - STEP;
      double below = total(moved, batch, weights);
      moved[n] = logProb[n];
      gradient[n] = (above - below) / (2 * STEP);
    }
    return gradient;
  }

  /** WPO's weight of each pair: the product over its answers of exp(mean(logp - log sum p^2)). */
  public double[] weights(double[] logProb, Batch batch) {
    double[] weights = new double[batch.pairs()];
    Arrays.fill(weights, 1);
    for (int a = 0; useWeighting && a < 2 * weights.length; a++) {
      int begin = batch.answerBegin[a];
      int end = batch.answerBegin[a + 1];
      double sum = 0;
      for (int n = begin; n < end; n++) {
        sum += logProb[n] - batch.logSumSquare[n];
      }
      weights[a / 2] *= Math.exp(sum / Math.max(1, end - begin));
    }
    return weights;
  }

  /** The four columns of sums, of one pair. */
  public double[] sums(double[] logProb, Batch batch, int pair) {
    return new double[] {
      sum(logProb, batch, pair, 0),
      sum(logProb, batch, pair, 1),
      sum(batch.reference, batch, pair, 0),
      sum(batch.reference, batch, pair, 1)
    };
  }

  /** Loss of each pair; the loss of a rank goes to the pair whose first value has it. */
  public double[] losses(double[] logProb, Batch batch, double[] weights) {
    int pairs = batch.pairs();
    double[] losses = new double[pairs];
    if (loss.equals("sft")) {
      for (int p = 0; p < pairs; p++) {
        for (int n = batch.answerBegin[2 * p]; n < batch.answerBegin[2 * p + 1]; n++) {
          losses[p] -= batch.sftScale[p] * logProb[n];
        }
      }
      return losses;
    }
    double[][] sums =
        IntStream.range(0, pairs)
            .mapToObj(p -> lossSums(logProb, batch, p))
            .toArray(double[][]::new);
    for (int g = 0; g + 1 < batch.groupBegin.length; g++) {
      int begin = batch.groupBegin[g];
      int end = batch.groupBegin[g + 1];
      switch (loss) {
        case "aot" ->
            ranked(
                losses,
                batch,
                begin,
                end,
                p -> sums[p][0] - sums[p][1],
                p -> sums[p][2] - sums[p][3]);
        case "aot_unpaired" ->
            ranked(
                losses,
                batch,
                begin,
                end,
                p -> sums[p][0] - sums[p][2],
                p -> sums[p][1] - sums[p][3]);
        default -> {
          for (int p = begin; p < end; p++) {
            losses[p] = batch.pairScale[p] * weights[p] * single(sums[p], batch, p);
          }
        }
      }
    }
    return losses;
  }

  private interface Key {
    double of(int pair);
  }

  private void ranked(double[] losses, Batch batch, int begin, int end, Key first, Key second) {
    List<Integer> firstOrder = order(begin, end, first);
    List<Integer> secondOrder = order(begin, end, second);
    for (int i = 0; i < end - begin; i++) {
      int pair = firstOrder.get(i);
      double delta = first.of(pair) - second.of(secondOrder.get(i));
      losses[pair] = batch.pairScale[pair] * smoothed(beta * delta);
    }
  }

  private static List<Integer> order(int begin, int end, Key key) {
    return IntStream.range(begin, end).boxed().sorted(Comparator.comparingDouble(key::of)).toList();
  }

  private double single(double[] sums, Batch batch, int pair) {
    double a = sums[0] - sums[2];
    double b = sums[1] - sums[3];
    double chosenLength = length(batch, 2 * pair);
    double rejectedLength = length(batch, 2 * pair + 1);
    double fa = score(a);
    double fb = score(b);
    double h = beta * (fa - fb);
    double e = labelSmoothing;
    return switch (loss) {
      case "sigmoid" -> smoothed(h);
      case "hinge" -> Math.max(0, 1 - h);
      case "ipo" -> square(fa / chosenLength - fb / rejectedLength - 1 / (2 * beta));
      case "exo_pair" -> {
        double q = sigmoid(h);
        yield q * (Math.log(q) - Math.log(1 - e)) + (1 - q) * (Math.log(1 - q) - Math.log(e));
      }
      case "nca_pair" -> softplus(-beta * a) + 0.5 * softplus(beta * a) + 0.5 * softplus(beta * b);
      case "robust" -> ((1 - e) * softplus(-h) - e * softplus(h)) / (1 - 2 * e);
      case "bco_pair" -> softplus(-beta * a) + softplus(beta * b);
      case "sppo_hard" -> square(a - 1 / (2 * beta)) + square(b + 1 / (2 * beta));
      case "apo_zero" -> 1 - sigmoid(beta * a) + sigmoid(beta * b);
      case "apo_down" -> sigmoid(beta * a) + 1 - sigmoid(beta * (a - b));
      case "discopop" -> {
        double m = sigmoid(h / discopopTau);
        yield (1 - m) * softplus(-h) + m * Math.exp(-h);
      }
      case "sigmoid_norm" -> softplus(-beta * (fa / chosenLength - fb / rejectedLength));
      case "simpo" ->
          smoothed(beta * (sums[0] / chosenLength - sums[1] / rejectedLength) - simpoGamma);
      default -> throw new IllegalArgumentException(loss);
    };
  }

  private double score(double u) {
    return switch (divergence) {
      case "reverse_kl" -> u;
      case "forward_kl" -> 1 - Math.exp(-u);
      case "js_divergence" -> Math.log(2) + Math.log(sigmoid(u));
      case "alpha_divergence" -> (Math.exp((alpha - 1) * u) - 1) / (alpha - 1);
      default -> throw new IllegalArgumentException(divergence);
    };
  }

  private double[] lossSums(double[] logProb, Batch batch, int pair) {
    double[] sums = sums(logProb, batch, pair);
    if (referenceFree) {
      sums[2] = 0;
      sums[3] = 0;
    }
    return sums;
  }

  private double sum(double[] logProb, Batch batch, int pair, int side) {
    int begin = batch.answerBegin[2 * pair + side];
    int shared =
        Math.min(
            batch.answerBegin[2 * pair + 1] - batch.answerBegin[2 * pair],
            batch.answerBegin[2 * pair + 2] - batch.answerBegin[2 * pair + 1]);
    double sum = 0;
    for (int n = begin; n < batch.answerBegin[2 * pair + side + 1]; n++) {
      sum += n - begin < shared ? logProb[n] : ldAlpha * logProb[n];
    }
    return sum;
  }

  private static double length(Batch batch, int answer) {
    return Math.max(1, batch.answerBegin[answer + 1] - batch.answerBegin[answer]);
  }

  private double smoothed(double h) {
    return (1 - labelSmoothing) * softplus(-h) + labelSmoothing * softplus(h);
  }

  private static double softplus(double x) {
    return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  private static double square(double x) {
    return x * x;
  }
}
