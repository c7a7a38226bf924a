package dev.gatun.data;

/**
 * One preference as text: to this prompt, this answer was chosen over that one. An answer carries
 * its own leading space.
 */
public record Preference(String prompt, String chosen, String rejected) {

  /**
   * The preference that a row holds: {@code prompt, chosen, rejected}, or {@code chosen, rejected}
   * as full texts whose common beginning is the prompt. Decided for each row by itself.
   *
   * @throws BadRowException if it holds none
   */
  static Preference of(JsonRow row, ImplicitPrompt implicitPrompt) {
    if (row.has("messages") && !row.has("chosen")) {
      throw new BadRowException(
          row.place(),
          "the row holds \"messages\" (a conversation), expected \"chosen\" and \"rejected\" text;"
              + " for texts to imitate use gatun sft");
    }
    String chosen = row.text("chosen");
    String rejected = row.text("rejected");
    if (row.has("prompt")) {
      return new Preference(row.text("prompt"), chosen, rejected);
    }
    if (chosen.isEmpty() || rejected.isEmpty()) {
      throw new BadRowException(
          row.place(),
          "\"%s\" is empty and there is no \"prompt\", so there is no common beginning to find one in: add a \"prompt\""
              .formatted(chosen.isEmpty() ? "chosen" : "rejected"));
    }
    int split = implicitPrompt.split(chosen, rejected);
    return new Preference(
        chosen.substring(0, split), chosen.substring(split), rejected.substring(split));
  }

  /** The opposite preference. */
  Preference reversed() {
    return new Preference(prompt, /* chosen= */ rejected, /* rejected= */ chosen);
  }
}
