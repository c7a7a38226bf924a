/** The files of a Hugging Face model directory: safetensors, config.json, tokenizer. */
@NullMarked
package dev.gatun.hf;

import org.jspecify.annotations.NullMarked;
