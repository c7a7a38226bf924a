@NullMarked
package dev.gatun.data;

import org.jspecify.annotations.NullMarked;
