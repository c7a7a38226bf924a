package dev.gatun.report;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;

/** Numbers as people read them. */
public final class Numbers {
  private Numbers() {}

  /**
   * At most {@code digits} significant digits, without trailing zeros; small and large ones as
   * {@code 1e-06}.
   */
  public static String significant(double value, int digits) {
    if (!Double.isFinite(value)) {
      return Double.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    }
    if (value == 0) {
      return "0";
    }
    BigDecimal rounded =
        new BigDecimal(value)
            .round(new MathContext(digits, RoundingMode.HALF_EVEN))
            .stripTrailingZeros();
    int exponent = rounded.precision() - rounded.scale() - 1;
    if (exponent >= -4 && exponent < Math.max(digits, 6)) {
      return rounded.toPlainString();
    }
    String mantissa = rounded.movePointLeft(exponent).stripTrailingZeros().toPlainString();
    return "%se%s%02d".formatted(mantissa, exponent < 0 ? "-" : "+", Math.abs(exponent));
  }

  /**
   * The shortest text that reads back as the same double: {@code 1e-06}, {@code 0.1}, {@code 8}.
   */
  public static String shortest(double value) {
    if (!Double.isFinite(value) || value == 0) {
      return significant(value, 1);
    }
    return significant(
        value, new BigDecimal(Double.toString(value)).stripTrailingZeros().precision());
  }

  /** {@code 1:02:03} or {@code 2:03}. */
  public static String duration(double seconds) {
    long whole = Math.max(0, Math.round(seconds));
    long hours = whole / 3600;
    return hours > 0
        ? "%d:%02d:%02d".formatted(hours, whole / 60 % 60, whole % 60)
        : "%d:%02d".formatted(whole / 60, whole % 60);
  }

  /** Bytes in the largest binary unit that leaves at least 1: {@code 1.5 GiB}. */
  public static String bytes(long count) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int unit = count < 1024 ? 0 : (63 - Long.numberOfLeadingZeros(count)) / 10;
    return significant(count / Math.pow(1024, unit), unit == 0 ? 4 : 3) + " " + units[unit];
  }
}
