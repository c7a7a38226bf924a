#!/usr/bin/env python3
"""Does transformers see in a model directory what Gatun saw? Compares the first step of a run that started from it.

  gatun dpo --model_name_or_path MODEL --dataset_name PAIRS.jsonl --output_dir OUT --train_sampling_strategy sequential \\
            --per_device_train_batch_size 4 --max_steps 1 --logging_steps 1 --dtype float32
  compare_with_transformers.py --model MODEL --data PAIRS.jsonl --metrics OUT/metrics.jsonl [--batch-size 4]

MODEL is a directory that Gatun wrote. transformers loads it, computes the logits of the same batch, and from them the step's
logps, logits and entropy; each must agree within 1e-4, relative. Made with torch 2.13.0, transformers 5.18.0.
"""
import argparse
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--metrics", required=True)
    ap.add_argument("--batch-size", type=int, default=4)
    a = ap.parse_args()
    tok = AutoTokenizer.from_pretrained(a.model)
    model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32, attn_implementation="eager").eval()
    rows = [json.loads(line) for line in open(a.data, encoding="utf-8")][: a.batch_size]
    sums = {"chosen": [0.0, 0.0, 0], "rejected": [0.0, 0.0, 0]}  # log-prob, mean logit, tokens
    entropy = 0.0
    for row in rows:
        prompt = tok(row["prompt"])["input_ids"]
        for side, total in sums.items():
            text = row[side] if row[side].endswith(tok.eos_token) else row[side] + tok.eos_token
            ids = prompt + tok(row["prompt"] + text)["input_ids"][len(prompt):]
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, len(prompt) - 1 : -1].double()
            logp = logits.log_softmax(-1)
            total[0] += logp.gather(1, torch.tensor(ids[len(prompt):])[:, None]).sum().item()
            total[1] += logits.mean(-1).sum().item()
            total[2] += len(logits)
            entropy -= (logp.exp() * logp).sum().item()
    expected = {f"logps/{s}": t[0] / len(rows) for s, t in sums.items()}
    expected.update({f"logits/{s}": t[1] / t[2] for s, t in sums.items()})
    expected["entropy"] = entropy / sum(t[2] for t in sums.values())
    measured = json.loads(open(a.metrics).readline())
    worst = 0.0
    for name, value in expected.items():
        difference = abs(measured[name] - value) / max(1.0, abs(value))
        worst = max(worst, difference)
        print(f"{name:16s} transformers {value:.9g}  gatun {measured[name]:.9g}  difference {difference:.1e}")
    print("agree" if worst <= 1e-4 else "DIFFER")
    return worst > 1e-4


if __name__ == "__main__":
    sys.exit(main())
