/** The commands: they read options, call the library and print what it says. */
@NullMarked
package dev.gatun.cli;

import org.jspecify.annotations.NullMarked;
