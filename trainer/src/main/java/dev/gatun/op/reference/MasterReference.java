package dev.gatun.op.reference;

/** bits(master) = (bits(weight) << 16) + (int16) remainder. */
public final class MasterReference {
  private MasterReference() {}

  /** The bf16 nearest to a f32, ties away from zero. */
  public static double weight(double master) {
    return Float.intBitsToFloat((Float.floatToRawIntBits((float) master) + 0x8000) & 0xFFFF0000);
  }

  /** Its remainder, as the unsigned 16 bits that are stored. */
  public static double remainder(double master) {
    int bits = Float.floatToRawIntBits((float) master);
    int weight = (bits + 0x8000) & 0xFFFF0000;
    return (bits - weight) & 0xFFFF;
  }
}
