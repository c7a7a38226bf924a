package dev.gatun.op.reference;

/** One element under torch's optimizers. Fields change as its buffers do. */
public final class OptimizerReference {
  public double weight;
  public double first;
  public double second;

  public OptimizerReference(double weight, double first, double second) {
    this.weight = weight;
    this.first = first;
    this.second = second;
  }

  /** torch.optim.AdamW; {@code first}, {@code second} are its moments. */
  public void adamw(
      double gradient,
      double learningRate,
      double beta1,
      double beta2,
      double eps,
      double weightDecay,
      int step) {
    weight -= learningRate * weightDecay * weight;
    first = beta1 * first + (1 - beta1) * gradient;
    second = beta2 * second + (1 - beta2) * gradient * gradient;
    double firstHat = first / (1 - Math.pow(beta1, step));
    double secondHat = second / (1 - Math.pow(beta2, step));
    weight -= learningRate * firstHat / (Math.sqrt(secondHat) + eps);
  }

  /** torch.optim.RMSprop; {@code first} is the momentum buffer, {@code second} the average. */
  public void rmsprop(
      double gradient,
      double learningRate,
      double alpha,
      double eps,
      double momentum,
      double weightDecay) {
    double g = gradient + weightDecay * weight;
    second = alpha * second + (1 - alpha) * g * g;
    first = momentum * first + g / (Math.sqrt(second) + eps);
    weight -= learningRate * first;
  }

  /** torch.optim.SGD; {@code first} is the momentum buffer. */
  public void sgd(
      double gradient,
      double learningRate,
      double momentum,
      double weightDecay,
      boolean firstStep) {
    double g = gradient + weightDecay * weight;
    first = firstStep ? g : momentum * first + g;
    weight -= learningRate * first;
  }
}
