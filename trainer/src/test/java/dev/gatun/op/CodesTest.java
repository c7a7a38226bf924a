package dev.gatun.op;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.bindings.kernels.GatunNative;
import dev.gatun.tensor.DType;
import java.lang.reflect.Method;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Enums carry the values of the header that has their names. */
final class CodesTest {
  private static int constant(String name) throws ReflectiveOperationException {
    Method getter = GatunNative.class.getMethod(name);
    return (int) getter.invoke(null);
  }

  @ParameterizedTest
  @EnumSource(Activation.class)
  void activations(Activation activation) throws ReflectiveOperationException {
    assertEquals(constant("GATUN_" + activation.name()), activation.code());
  }

  @ParameterizedTest
  @EnumSource(PreferenceLoss.class)
  void losses(PreferenceLoss loss) throws ReflectiveOperationException {
    assertEquals(constant("GATUN_LOSS_" + loss.name()), loss.code());
  }

  @ParameterizedTest
  @EnumSource(PreferenceDivergence.class)
  void divergences(PreferenceDivergence divergence) throws ReflectiveOperationException {
    String suffix =
        switch (divergence) {
          case REVERSE_KL, FORWARD_KL -> "";
          case JS, ALPHA -> "_DIVERGENCE";
        };
    assertEquals(constant("GATUN_" + divergence.name() + suffix), divergence.code());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16", "F16"})
  void types(DType dtype) throws ReflectiveOperationException {
    assertEquals(constant("GATUN_" + dtype.name()), dtype.code());
  }
}
