package dev.gatun.hf;

import dev.gatun.memory.GatunException;

/** The native tokenizer library cannot be loaded on this machine. */
public class TokenizerLibraryException extends GatunException {
  private static final long serialVersionUID = 1L;

  TokenizerLibraryException(String message) {
    super(message);
  }
}
