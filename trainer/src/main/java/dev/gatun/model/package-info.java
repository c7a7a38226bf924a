/**
 * Decoder language models: parameters, packed batches, and the forward and backward passes that
 * read top to bottom as the model does.
 */
@NullMarked
package dev.gatun.model;

import org.jspecify.annotations.NullMarked;
