/** From packed pairs to log-probabilities, preference losses and their gradients. */
@NullMarked
package dev.gatun.preference;

import org.jspecify.annotations.NullMarked;
