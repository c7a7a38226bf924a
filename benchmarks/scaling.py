#!/usr/bin/env python3
"""Cost of a pair against the length of prompts and answers and the number of pairs, with `gatun bench`; prints Markdown tables.

  scaling.py [--shape SHAPE] [--bf16] [--rounds 3] [--gatun PATH] [OPTION OF gatun bench]...

Layers and head take time in proportion to tokens, attention to the square of the length: `useful GFLOP` has both, so that a step is as fast as it
should be where `mfu` does not fall. One step of each size is measured per round.
"""
import argparse
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROMPTS = (64, 128, 256, 512, 1024, 2048)
ANSWERS = (32, 64, 128, 256, 512, 1024)
PAIRS = (1, 2, 4, 8, 16, 32)


def measure(a, prompt, answer, pairs, options):
    command = [a.gatun, "bench", "--json", "--shape", a.shape, "--rounds", str(a.rounds), "--steps", "1", "--warmup_steps", "1",
               "--prompt_tokens", str(prompt), "--answer_tokens", str(answer), "--pairs", str(pairs), "--dtype", "bfloat16" if a.bf16 else "float32", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"scaling.py: {' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def row(key, report):
    rate, tokens = report["pairs_per_second"], report["rounds"][0]["tokens_computed"] / report["rounds"][0]["pairs"]
    milliseconds = [1e3 / rate[k] for k in ("median", "highest", "lowest")]
    mfu = report["mfu"]["median"]
    return (f"| {key} | {milliseconds[0]:.1f} ({milliseconds[1]:.1f} to {milliseconds[2]:.1f}) | {1e3 * milliseconds[0] / tokens:.1f} | "
            f"{report['flops_per_pair'] / 1e9:.1f} | {mfu:.2f} | {report['peak_bytes'] / (1 << 20):.0f} |")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--shape", default="llama:384,8,6,2,1024,8192", help="default: the sizes of 15m, which itself takes 2048 tokens")
    ap.add_argument("--bf16", action="store_true")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--gatun", default=os.path.join(ROOT, "gatun"))
    a, options = ap.parse_known_args()
    tables = (("prompt tokens", "answers of 128, 2 pairs", [(n, (n, 128, 2)) for n in PROMPTS]),
              ("answer tokens", "prompts of 128, 2 pairs", [(n, (128, n, 2)) for n in ANSWERS]),
              ("pairs", "prompts of 180, answers of 130", [(n, (180, 130, n)) for n in PAIRS]))
    print(f"{a.shape}, {'bfloat16' if a.bf16 else 'float32'}, median of {a.rounds} rounds and their extremes")
    for title, rest, sizes in tables:
        print(f"\n| {title} ({rest}) | ms a pair | µs a token | useful GFLOP a pair | mfu | peak MiB |\n|---|---|---|---|---|---|")
        for key, size in sizes:
            print(row(key, measure(a, *size, options)), flush=True)


if __name__ == "__main__":
    main()
