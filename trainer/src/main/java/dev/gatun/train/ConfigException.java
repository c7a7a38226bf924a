package dev.gatun.train;

import dev.gatun.memory.GatunException;

/** An option, or a combination of options, that cannot do what was asked. */
public final class ConfigException extends GatunException {
  private static final long serialVersionUID = 1L;

  private final String option;

  /**
   * @param option the option's name as users type it, without dashes
   * @param message what is wrong, what is expected, the remedy; the name is put in front
   */
  public ConfigException(String option, String message) {
    super(option + ": " + message);
    this.option = option;
  }

  /** The option's name as users type it, without dashes. */
  public String option() {
    return option;
  }
}
