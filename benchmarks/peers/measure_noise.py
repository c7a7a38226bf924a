#!/usr/bin/env python3
"""How far two correct runs of TRL are apart: every recorded case again with another attention kernel (or thread count), compared.

  measure_noise.py --models DIR --data DIR --goldens DIR --out noise.json

The goldens ran with sdpa attention and one thread (gemma2: eager attention). Here each case runs with eager attention (gemma2: two
threads, another summation order). Per case: the largest relative difference of each metric over all steps, and of the final weights:
of each tensor's norm, and, where final.safetensors was recorded, of each tensor. GoldenRunsTest takes its tolerances from this file.
"""
import argparse
import json
import os
import shutil
import sys
import warnings

import numpy as np
from safetensors.numpy import load_file

import make_goldens
import trl_dpo

SCALES = {k: 1.0 for k in ("rewards/chosen", "rewards/rejected", "rewards/margins", "logits/chosen", "logits/rejected")}


def compare(golden, other):
    worst = {}
    for a, b in zip(open(os.path.join(golden, "metrics.jsonl")), open(os.path.join(other, "metrics.jsonl"))):
        a, b = json.loads(a), json.loads(b)
        for k, v in a.items():
            if k in ("step", "epoch", "num_tokens", "learning_rate"):
                continue
            key = k.replace("/chosen", "").replace("/rejected", "").replace("/margins", "")
            worst[key] = max(worst.get(key, 0.0), abs(b[k] - v) / max(abs(v), SCALES.get(k, 1e-12)))
    x, y = (json.load(open(os.path.join(d, "param_sums.json")))["after"] for d in (golden, other))
    tensors = {k: abs(y[k]["l2"] - v["l2"]) / v["l2"] for k, v in x.items()}
    f = "final.safetensors"
    if os.path.exists(os.path.join(golden, f)):
        x, y = (load_file(os.path.join(d, f)) for d in (golden, other))
        tensors = {k: float(np.linalg.norm(y[k] - v) / np.linalg.norm(v)) for k, v in x.items()}
    worst["weights"] = max(tensors.values())
    worst["weights of"] = max(tensors, key=tensors.get)
    return worst


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for o in ("models", "data", "goldens", "out"):
        ap.add_argument("--" + o, required=True)
    a = ap.parse_args()
    warnings.simplefilter("ignore")
    result = json.load(open(a.out)) if os.path.exists(a.out) else {}
    for model in sorted(os.listdir(a.goldens)):
        for case in sorted(os.listdir(os.path.join(a.goldens, model))) if model.startswith("tiny-") else []:
            d = os.path.join(a.goldens, model, case)
            if not os.path.exists(os.path.join(d, "run.json")) or f"{model}/{case}" in result:
                continue
            r = json.load(open(os.path.join(d, "run.json")))["args"]
            if r["precision"] != "fp32" or r["lora_r"] or "conversational" in r["data"]:
                continue
            tmp = a.out + ".run"
            args = ["--model", os.path.join(a.models, r["model"]), "--data", os.path.join(a.data, r["data"]), "--out", tmp, "--record", "--no-tokens"]
            if r["ref_model"]:
                args += ["--ref-model", os.path.join(a.models, r["ref_model"])]
            for k, v in r.items():
                if k in ("model", "ref_model", "data", "out", "record", "no_tokens", "dump_step0", "attn", "threads") or v is None or v is False or v == "":
                    continue
                args += ["--" + k.replace("_", "-")] + ([] if v is True else [str(v)])
            args += ["--attn", "eager"] + (["--threads", "2"] if model == "tiny-gemma2" else ["--threads", "1"])
            if case == "eager":
                args[args.index("--attn") + 1] = "sdpa"
            trl_dpo.main(args)
            result[f"{model}/{case}"] = compare(d, tmp)
            shutil.rmtree(tmp)
            with open(a.out, "w") as f:
                json.dump(result, f, indent=1, sort_keys=True)
                f.write("\n")


if __name__ == "__main__":
    sys.exit(main())
