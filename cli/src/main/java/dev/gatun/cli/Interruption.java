package dev.gatun.cli;

import java.util.concurrent.CountDownLatch;

/**
 * While open, Ctrl-C (and SIGTERM, as cluster schedulers send it) asks a run to stop instead of
 * ending the process at once; the process ends when this is closed, with the status of the signal
 * (130 or 143).
 */
final class Interruption implements AutoCloseable {
  private final CountDownLatch closed = new CountDownLatch(1);
  private final Thread hook;

  /**
   * @param stop asks the run to stop; called on another thread
   */
  Interruption(Runnable stop) {
    hook =
        new Thread(
            () -> {
              stop.run();
              try {
                closed.await();
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt(); // the process ends without waiting
              }
            },
            "interruption");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Lets the process go on, or end if it was told to. */
  @Override
  public void close() {
    closed.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The process is ending already, and the hook that runs has just been released.
    }
  }
}
