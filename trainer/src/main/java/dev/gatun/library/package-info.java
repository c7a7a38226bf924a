/** Native libraries that come in the jars of others, as files beside the jars in a distribution. */
@NullMarked
package dev.gatun.library;

import org.jspecify.annotations.NullMarked;
