package dev.gatun.train;

import dev.gatun.backend.Backend;
import java.util.ArrayList;
import java.util.List;

/**
 * A backend and why it is this one.
 *
 * @param backend belongs to whoever asked for it
 * @param reason why {@link Device#AUTO} came to it; empty where the user named the device
 */
public record OpenDevice(Backend backend, String reason) {
  /** Lines for the user: what computes, why, and what it has to say. */
  public List<String> notes() {
    List<String> notes = new ArrayList<>();
    notes.add("backend: " + backend.description());
    if (!reason.isEmpty()) {
      notes.add("device: " + reason);
    }
    notes.addAll(backend.notes());
    return notes;
  }
}
