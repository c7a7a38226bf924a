#!/usr/bin/env python3
"""Gatun, TRL and a hand-written PyTorch loop on the same work, in turn, several rounds; prints ratios and writes them as Markdown.

  compare.py --model MODEL_DIR [--model ...] --data FILE.jsonl --out RESULTS.md [--rounds 5] [--peers trl-default,shared-fp32]

Every run is a process of its own, of --threads threads, and trains on the first steps * batch rows of the data in file order. pairs/s leaves out
the first step; a second table counts whole processes (Gatun's also writes its model). A round runs everything once, in an order that turns from
round to round; ratios are of runs of one round.

  gatun-fp32, gatun-bf16      reference scored before training; bf16 has exact float32 masters
  gatun-fp32+store, ...       the same with a reference store that an earlier run has filled
  trl-default                 TRL's own defaults: bf16 autocast over float32 weights, gradient checkpointing, the reference in every step, the whole
                              batch at once (TRL's is 8 pairs, so is the default of --batch)
  trl-bf16, trl-fp32          TRL's best: reference scored before training, no checkpointing; all of bf16, or float32
  padded-bf16, padded-fp32    minimal_dpo.py: no Trainer, padded rows, reference scored before training
  shared-bf16, shared-fp32    the same without padding, each prompt computed once for both answers
                              (these six take the batch in micro-batches of --micro-batch pairs, which is faster than at once: less padding, smaller tensors)
  ...+mkl                     the same with MKL's fast path on processors that are not Intel's: a preloaded mkl_serv_intel_cpu_true that returns 1

Nothing else may run meanwhile. Needs the packages of README.md in the Python that runs this, a C compiler, and a built ./gatun.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import typing

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LEARNING_RATE = "1e-5"
GIB = 1 << 30

# Relative difference of a step's loss from Gatun's in the same precision that rounding explains. float32: README.md's noise of 3e-6, ten times, since
# the first steps of AdamW move a weight by the learning rate whatever the size of its gradient, rounding error included. bf16: a log-probability
# of one answer, a sum over some 130 tokens, has an error of a few hundredths (8 bits of mantissa in every activation), beta = 0.1 of which
# reach the loss, of some 0.7 at the start and less later.
TOLERANCE = {"fp32": 3e-5, "bf16": 2e-2}


class Peer(typing.NamedTuple):
    precision: str
    what: str
    options: list
    micro: bool = False  # takes the batch in micro-batches
    mkl: bool = False
    store: bool = False


def peers():
    """name -> Peer"""
    table = {}
    for p, dtype in (("fp32", "float32"), ("bf16", "bfloat16")):
        table[f"gatun-{p}"] = Peer(p, "gatun", ["--dtype", dtype])
        table[f"gatun-{p}+store"] = Peer(p, "gatun", ["--dtype", dtype], store=True)
    for mkl in (False, True):
        end = "+mkl" if mkl else ""
        table["trl-default" + end] = Peer("bf16", "trl", ["--precision", "amp", "--gradient-checkpointing"], mkl=mkl)
        for p in ("bf16", "fp32"):
            table[f"trl-{p}{end}"] = Peer(p, "trl", ["--precision", p, "--precompute-ref"], True, mkl)
            for mode in ("padded", "shared"):
                table[f"{mode}-{p}{end}"] = Peer(p, "minimal", ["--precision", p, "--mode", mode], True, mkl)
    return table


PEERS = peers()
# The fastest of each kind. The fast path is for float32: bf16 products are oneDNN's.
DEFAULT = "gatun-fp32 gatun-bf16 gatun-bf16+store trl-default trl-bf16 shared-fp32 shared-fp32+mkl shared-bf16".split()


def fast_path(folder):
    """The library to preload."""
    source, library = os.path.join(folder, "fast.c"), os.path.join(folder, "libfast.so")
    with open(source, "w") as f:
        f.write("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def run(name, model, data, steps, batch, a, folder, library):
    """One process: seconds of every step, losses, peak resident bytes, seconds of all."""
    peer = PEERS[name]
    what, options = peer.what, list(peer.options)
    out = tempfile.mkdtemp(prefix=name.replace("+", "-") + ".", dir=folder)
    env = dict(os.environ, OMP_NUM_THREADS=str(a.threads))
    if peer.mkl:
        env["LD_PRELOAD"] = library
    if what == "gatun":
        command = [a.gatun, "dpo", "--model_name_or_path", model, "--dataset_name", data, "--output_dir", out, "--learning_rate", LEARNING_RATE,
                   "--lr_scheduler_type", "constant", "--per_device_train_batch_size", str(batch), "--max_steps", str(steps), "--logging_steps", "1",
                   "--train_sampling_strategy", "sequential", "--precompute_ref_log_probs", "--reference_store",
                   os.path.join(folder, "store." + os.path.basename(os.path.normpath(model))) if peer.store else "none", "--disable_tqdm", "--device", "cpu",
                   "--threads", str(a.threads), "--save_strategy", "no", *options]
    else:
        script = {"trl": "trl_dpo.py", "minimal": "minimal_dpo.py"}[what]
        target = out if what == "trl" else os.path.join(out, "metrics.jsonl")
        micro = a.micro_batch if peer.micro else batch
        command = [sys.executable, os.path.join(HERE, script), "--model", model, "--data", data, "--out", target, "--steps", str(steps),
                   "--batch-size", str(micro), "--grad-accum", str(batch // micro), "--lr", LEARNING_RATE, "--threads", str(a.threads), *options]
    log = os.path.join(out, "log")
    begin = time.perf_counter()
    with open(log, "wb") as f:
        process = subprocess.Popen(command, stdout=f, stderr=subprocess.STDOUT, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begin
    if process.returncode != 0:
        with open(log, errors="replace") as f:
            sys.exit(f"{name} ended with {process.returncode}: {' '.join(command)}\n" + "".join(f.readlines()[-20:]))
    with open(os.path.join(out, "metrics.jsonl")) as f:
        lines = [line for line in map(json.loads, f) if "loss" in line]
    if what == "trl":
        with open(os.path.join(out, "run.json")) as f:
            seconds = json.load(f)["step_s"]
    elif what == "minimal":
        seconds = [line["step_s"] for line in lines]
    else:
        seconds = [batch / line["pairs_per_second"] for line in lines]
        for file in os.listdir(out):
            if file.endswith(".safetensors"):
                os.remove(os.path.join(out, file))
    if len(lines) != steps or len(seconds) != steps:
        sys.exit(f"{name}: {len(lines)} losses and {len(seconds)} times of {steps} steps; see {log}")
    return {"seconds": seconds, "losses": [line["loss"] for line in lines], "batch": batch, "peak": usage.ru_maxrss * 1024, "wall": wall}


def spread(values, digits=2):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def pairs_per_second(result):
    counted = result["seconds"][1:]
    return result["batch"] * len(counted) / sum(counted)


def losses(name, results):
    """Largest relative difference from Gatun's losses in the same precision, and whether it is beyond the tolerance."""
    precision = PEERS[name].precision
    own = results["gatun-" + precision][0]["losses"]
    worst = max(abs(x - y) / abs(y) for r in results[name] for x, y in zip(r["losses"], own))
    return f"{worst:.1e}" + ("" if worst <= TOLERANCE[precision] else f", **beyond {TOLERANCE[precision]:.0e}**")


def ratio_columns(own, runs, of):
    """A cell for each precision of Gatun's: how many times of(these runs) it has."""
    return ["" if ours is runs else spread([of(x) / of(y) for x, y in zip(ours, runs)]) for ours in own.values()]


def markdown(head, rows):
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def table(model, steps, batch, micro, results):
    own = {p: results["gatun-" + p] for p in ("fp32", "bf16") if "gatun-" + p in results}
    faster = [f"Gatun {p} is faster by" for p in own]
    steady, whole = [], []
    for name, runs in results.items():
        peak = statistics.median(r["peak"] for r in runs)
        share = ["" if ours is runs else f"{statistics.median(r['peak'] for r in ours) / peak:.2f}" for ours in own.values()]
        agree = "" if PEERS[name].what == "gatun" or PEERS[name].precision not in own else losses(name, results)
        steady.append([name, spread([pairs_per_second(r) for r in runs], 3), *ratio_columns(own, runs, pairs_per_second), f"{peak / GIB:.2f}", *share, agree])
        whole.append([name, spread([r["wall"] for r in runs], 1), *ratio_columns(own, runs, lambda r: 1 / r["wall"])])
    lines = [f"## {os.path.basename(os.path.normpath(model))}", "", f"{steps} steps of {batch} pairs, in micro-batches of {micro} where peers may choose.", ""]
    lines += markdown(["", "pairs/s", *faster, "peak GiB", *(f"of which Gatun {p}" for p in own), "loss, largest relative difference"], steady)
    lines += ["", "Whole processes:", ""]
    lines += markdown(["", "seconds", *faster], whole)
    lines += ["", "Losses of the first round:", ""]
    lines += [f"- {name}: " + " ".join(f"{x:.6f}" for x in runs[0]["losses"]) for name, runs in results.items()]
    return "\n".join(lines) + "\n"


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12", "--match", ""], capture_output=True, text=True)
    version = lambda name: subprocess.run([sys.executable, "-c", f"import importlib.metadata as m; print(m.version('{name}'))"], capture_output=True,
                                          text=True).stdout.strip()
    return (f"{datetime.date.today()}, {os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}. Gatun {commit.stdout.strip()}; "
            + ", ".join(f"{n} {version(n)}" for n in ("torch", "transformers", "trl")) + f", Python {platform.python_version()}.")


def each(option, values, a, least):
    """One value for each model."""
    values = values * len(a.model) if len(values) == 1 else values
    if len(values) != len(a.model) or min(values) < least:
        sys.exit(f"compare.py: {option} {values} for {len(a.model)} models; expected one, or one for each, of at least {least}")
    return values


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", action="append", required=True, help="model directory; may be given several times")
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True, help="Markdown file")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--steps", type=int, action="append", help="optimizer steps, one number or one for each model; default 3")
    ap.add_argument("--batch", type=int, action="append", help="pairs in a step, one number or one for each model; default 8, as TRL's")
    ap.add_argument("--micro-batch", type=int, default=2, help="pairs in a micro-batch of the peers that may choose it; default 2")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--peers", default=",".join(DEFAULT), help="comma separated, or all")
    ap.add_argument("--gatun", default=os.path.join(ROOT, "gatun"))
    a = ap.parse_args()
    names = list(PEERS) if a.peers == "all" else a.peers.split(",")
    unknown = [n for n in names if n not in PEERS]
    if unknown:
        sys.exit(f"compare.py: no peer {', '.join(unknown)}; expected some of {', '.join(PEERS)}")
    steps, batches = each("--steps", a.steps or [3], a, 2), each("--batch", a.batch or [8], a, 1)
    if a.micro_batch < 1 or any(batch % a.micro_batch for batch in batches):
        sys.exit(f"compare.py: --micro-batch {a.micro_batch}; expected a divisor of the batches {batches}")
    with open(a.data, encoding="utf-8") as f:
        rows = f.readlines()
    text = [f"# Gatun and its peers on {os.cpu_count()} CPU cores", "", machine(), "",
            f"`python compare.py {' '.join(sys.argv[1:])}`: {a.rounds} rounds, {a.threads} threads; "
            "the first step of a run is not counted. Medians of all rounds, in brackets the lowest and the highest; ratios are of runs of one round.", "",
            "trl-bf16, padded-bf16 and shared-bf16 keep weights and moments in bf16 alone. At a learning rate of " + LEARNING_RATE + " most updates are less than "
            "half of a weight's last bit and are lost, so that their losses go another way; trl-default, in autocast, keeps float32 weights, and "
            "Gatun's bf16 exact float32 masters.", ""]
    with tempfile.TemporaryDirectory(prefix="compare.") as folder:
        library = fast_path(folder)
        for model, count, batch in zip(a.model, steps, batches):
            if len(rows) < count * batch:
                sys.exit(f"compare.py: {a.data} has {len(rows)} rows, expected at least {count} steps of {batch}")
            data = os.path.join(folder, f"{count * batch}.jsonl")
            with open(data, "w", encoding="utf-8") as f:
                f.writelines(rows[:count * batch])
            results = {name: [] for name in names}
            for name in names:
                if PEERS[name].store:  # fills it
                    run(name, model, data, count, batch, a, folder, library)
            for r in range(a.rounds):
                turn = r % len(names)
                for name in names[turn:] + names[:turn]:
                    result = run(name, model, data, count, batch, a, folder, library)
                    results[name].append(result)
                    print(f"{os.path.basename(os.path.normpath(model))} round {r + 1}/{a.rounds} {name}: {pairs_per_second(result):.3f} pairs/s, "
                          f"{result['peak'] / GIB:.2f} GiB, last loss {result['losses'][-1]:.6f}, {result['wall']:.1f} s", flush=True)
            text.append(table(model, count, batch, a.micro_batch, results))
            print("\n" + text[-1], flush=True)
    with open(a.out, "w") as f:
        f.write("\n".join(text))


if __name__ == "__main__":
    main()
