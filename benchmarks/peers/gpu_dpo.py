#!/usr/bin/env python3
"""DPO training steps in PyTorch with transformers' models, on the work that `gatun bench` measures. Random weights, random tokens, nothing read.

  gpu_dpo.py --shape llama-3.2-1b --recipe trl --pairs 64 --prompt-tokens 256 --answer-tokens 192 [--reference live] [--micro-batch 8]

recipes
  trl     what TRL's DPOTrainer does by default: float32 weights, bf16 autocast, gradient checkpointing, chosen and rejected as two whole
          padded rows, logits of every position, entropy and mean logits for its metrics, AdamW
  best    the best of plain PyTorch: bf16 weights and moments, no checkpointing, logits of answer positions only, fused AdamW

Both use scaled_dot_product_attention. All rows have one length, so nothing is padded in either. A micro-batch (--micro-batch pairs; 0: the
largest of 64, 32, ... 1 that fits in memory) is one forward and backward pass; an optimizer step is --pairs pairs.

Prints one JSON object: pairs/s and tokens/s (tokens as TRL counts them, each answer with its prompt) as medians over --rounds rounds of --steps
steps, with the lowest and highest, seconds of each phase, and the most memory that PyTorch reserved. Also runs on a CPU, to test this file.
"""
import argparse
import gc
import json
import platform
import statistics
import time

import torch
import torch.nn.functional as F
import transformers

SHAPES = {  # family, hidden, intermediate, layers, heads, key heads, vocabulary, rope theta, tied head; as ModelPreset.java
    "tiny": ("llama", 64, 160, 2, 4, 2, 4096, 1e4, False),
    "qwen2.5-0.5b": ("qwen2", 896, 4864, 24, 14, 2, 151936, 1e6, True),
    "llama-3.2-1b": ("llama", 2048, 8192, 16, 32, 8, 128256, 5e5, True),
    "llama-2-7b": ("llama", 4096, 11008, 32, 32, 32, 32000, 1e4, False),
}


def make_model(shape, dtype, device):
    family, hidden, intermediate, layers, heads, key_heads, vocabulary, theta, tied = SHAPES[shape]
    config_type = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[family]
    config = config_type(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=key_heads,
        vocab_size=vocabulary, max_position_embeddings=4096, rope_theta=theta, tie_word_embeddings=tied, attn_implementation="sdpa")
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = transformers.AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return model.to(dtype)


class Clock:
    """Seconds of phases, by the device's clock where it has one."""

    def __init__(self, device):
        self.cuda = device.type == "cuda"
        self.marks = []

    def mark(self, name):
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append((name, event))
        else:
            self.marks.append((name, time.perf_counter()))

    def phases(self):
        """Seconds by the name of the mark that ends each stretch."""
        if self.cuda:
            torch.cuda.synchronize()
        seconds = {}
        for (_, begin), (name, end) in zip(self.marks, self.marks[1:]):
            if name is not None:
                seconds[name] = seconds.get(name, 0.0) + (begin.elapsed_time(end) * 1e-3 if self.cuda else end - begin)
        return seconds


class Recipe:
    def __init__(self, arguments, device):
        self.a = arguments
        self.device = device
        self.trl = arguments.recipe == "trl"
        dtype = torch.float32 if self.trl else torch.bfloat16
        self.model = make_model(arguments.shape, dtype, device)
        self.model.train()
        self.reference = None
        if arguments.reference == "live":
            self.reference = make_model(arguments.shape, dtype, device)
            self.reference.load_state_dict(self.model.state_dict())
            self.reference.requires_grad_(False).eval()
        if self.trl:
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if arguments.compile:
            self.model = torch.compile(self.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, weight_decay=0.0, fused=True)

    def log_probs(self, model, ids):
        """[rows] summed log-probabilities of the answers, and what TRL's metrics take from the logits."""
        prompt = self.a.prompt_tokens
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.trl):
            if self.trl:
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits[:, :-1]
                targets = ids[:, 1:]
                mask = torch.arange(1, ids.shape[1], device=ids.device) >= prompt
            else:
                # The positions that predict an answer's tokens, and one more, whose logits nobody reads.
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=ids.shape[1] - prompt + 1).logits[:, :-1]
                targets = ids[:, prompt:]
                mask = None
        if self.trl:
            # TRL goes row by row, so that only one row's softmax is in memory.
            tokens = torch.stack([row.float().log_softmax(-1).gather(-1, t[:, None])[:, 0] for row, t in zip(logits, targets)])
            with torch.no_grad():
                entropy = torch.stack([-(p.exp() * p).sum(-1) for p in (row.float().log_softmax(-1) for row in logits)])
                metrics = entropy[:, mask].mean() + logits[:, mask].float().mean()
            return (tokens * mask).sum(1), metrics
        flat = F.cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), reduction="none")
        return -flat.view(targets.shape).sum(1), None

    def score(self, ids):
        with torch.no_grad():
            return self.log_probs(self.reference or self.model, ids)[0]

    def step(self, ids, cached, micro_batch, clock):
        """One optimizer step; ids [2, pairs, tokens]: chosen and rejected."""
        pairs = ids.shape[1]
        loss_sum = torch.zeros((), device=self.device)
        clock.mark(None)
        for begin in range(0, pairs, micro_batch):
            part = ids[:, begin:begin + micro_batch].flatten(0, 1)
            if cached is None:
                reference = self.score(part)
                clock.mark("reference")
            else:
                reference = cached[:, begin:begin + micro_batch].flatten()
            policy, _ = self.log_probs(self.model, part)
            delta = (policy - reference).view(2, -1)
            loss = -F.logsigmoid(0.1 * (delta[0] - delta[1])).sum() / pairs
            clock.mark("forward and loss")
            loss.backward()
            clock.mark("backward")
            loss_sum += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        clock.mark("gradient norm")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        clock.mark("optimizer")
        return loss_sum


def measure(arguments, device, micro_batch):
    torch.manual_seed(arguments.seed)
    if device.type == "cuda":
        gc.collect()  # what an attempt that ran out of memory left
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    recipe = Recipe(arguments, device)
    vocabulary = SHAPES[arguments.shape][6]
    length = arguments.prompt_tokens + arguments.answer_tokens
    batches = []
    for _ in range(arguments.steps):
        ids = torch.randint(vocabulary, (2, arguments.pairs, length), device=device)
        ids[1, :, :arguments.prompt_tokens] = ids[0, :, :arguments.prompt_tokens]
        cached = None
        if arguments.reference == "cached":
            parts = [recipe.score(ids[:, b:b + micro_batch].flatten(0, 1)).view(2, -1) for b in range(0, arguments.pairs, micro_batch)]
            cached = torch.cat(parts, 1)
        batches.append((ids, cached))
    for step in range(arguments.warmup_steps):
        recipe.step(*batches[step % len(batches)], micro_batch, Clock(device))
    rates, phases, losses = [], [], []
    for _ in range(arguments.rounds):
        clock = Clock(device)
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for ids, cached in batches:
            losses.append(recipe.step(ids, cached, micro_batch, clock).item())
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(arguments.pairs * arguments.steps / (time.perf_counter() - begin))
        phases.append(clock.phases())
    if not all(map(torch.isfinite, map(torch.tensor, losses))):
        raise SystemExit(f"gpu_dpo: losses are not finite: {losses}")
    return rates, phases, losses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shape", required=True, choices=SHAPES)
    add("--recipe", required=True, choices=["trl", "best"])
    add("--reference", choices=["cached", "live"], default="cached")
    add("--pairs", type=int, default=64)
    add("--micro-batch", type=int, default=0)
    add("--prompt-tokens", type=int, default=256)
    add("--answer-tokens", type=int, default=192)
    add("--steps", type=int, default=4)
    add("--warmup-steps", type=int, default=2)
    add("--rounds", type=int, default=5)
    add("--compile", action="store_true")
    add("--device", default="cuda")
    add("--seed", type=int, default=42)
    a = parser.parse_args()
    device = torch.device(a.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("gpu_dpo: PyTorch finds no GPU; install a build for CUDA, or name --device cpu")

    sizes = [a.micro_batch] if a.micro_batch else [n for n in (64, 32, 16, 8, 4, 2, 1) if n <= a.pairs]
    for micro_batch in sizes:
        try:
            rates, phases, losses = measure(a, device, micro_batch)
            break
        except torch.OutOfMemoryError:
            continue
    else:
        raise SystemExit(f"gpu_dpo: not even {sizes[-1]} pairs fit in memory at a time")
    steps = a.steps * a.rounds
    tokens = 2 * (a.prompt_tokens + a.answer_tokens)
    spread = lambda values: {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    print(json.dumps({
        "arguments": {**vars(a), "micro_batch": micro_batch},
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "pairs_per_second": spread(rates),
        "tokens_per_second": spread([rate * tokens for rate in rates]),
        "phase_seconds_per_step": {name: sum(p.get(name, 0.0) for p in phases) / steps for name in phases[0]},
        "peak_bytes": torch.cuda.max_memory_reserved() if device.type == "cuda" else None,
        "first_loss": losses[0],
    }))


if __name__ == "__main__":
    main()
