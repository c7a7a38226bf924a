/** What a run tells: step metrics under TRL's names, the files and consoles they go to. */
@NullMarked
package dev.gatun.report;

import org.jspecify.annotations.NullMarked;
