package dev.gatun.report;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class NumbersTest {
  @ParameterizedTest
  @CsvSource({
    "0.69314718, 0.6931",
    "-0.00012345678, -0.0001235",
    "0.000012345678, 1.235e-05",
    "12.5, 12.5",
    "99999, 100000",
    "1234567, 1.235e+06",
    "0, 0",
    "NaN, nan",
    "-Infinity, -inf"
  })
  void roundsToFourDigits(double value, String expected) {
    assertEquals(expected, Numbers.significant(value, 4));
  }

  @ParameterizedTest
  @ValueSource(doubles = {1e-6, 0.1, 8, 512, 2e-5, 1.0 / 3, -123456789.5, Double.MIN_VALUE, 1e300})
  void shortestReadsBack(double value) {
    assertEquals(value, Double.parseDouble(Numbers.shortest(value)));
  }

  @Test
  void shortestIsShort() {
    assertEquals("1e-06", Numbers.shortest(1e-6));
    assertEquals("0.1", Numbers.shortest(0.1));
    assertEquals("500", Numbers.shortest(500));
  }

  @Test
  void durationsAndBytes() {
    assertEquals("0:00", Numbers.duration(0.2));
    assertEquals("2:03", Numbers.duration(123));
    assertEquals("1:00:01", Numbers.duration(3601));
    assertEquals("1023 B", Numbers.bytes(1023));
    assertEquals("1 KiB", Numbers.bytes(1024));
    assertEquals("1.5 GiB", Numbers.bytes(3L << 29));
  }
}
