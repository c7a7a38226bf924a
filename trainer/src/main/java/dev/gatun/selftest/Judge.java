package dev.gatun.selftest;

/** Hears what a {@link Workbench} finds. */
public interface Judge {
  /**
   * A tensor was compared with its reference.
   *
   * @param row of the kernel table, that wrote it
   * @param fraction of the tolerance that its worst element has used; above 1, or NaN, {@link
   *     #failed} is called next
   */
  void compared(String row, double fraction);

  /**
   * Something is wrong.
   *
   * @param row of the kernel table, that is to blame
   * @param finding what, where, expected what
   */
  void failed(String row, String finding);
}
