/**
 * Data: rows of JSON or JSON lines, read strictly; preference pairs and SFT texts, tokenized as TRL
 * does; the order in which training visits them. Rules and deviations: {@code docs/data.md}.
 */
@NullMarked
package dev.gatun.data;

import org.jspecify.annotations.NullMarked;
