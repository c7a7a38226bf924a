"""Writes trainer/src/test/resources/rope/golden.json: RoPE frequencies, cosines and sines of transformers.

Run with transformers 5.18 and torch 2.13: python tools/rope_golden.py
"""

import json
import pathlib

import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

POSITIONS = [0, 1, 2, 63, 511, 2047]

SETTINGS = {
    "default": (16, 2048, {"rope_type": "default", "rope_theta": 10000.0}),
    "default, theta 500000": (128, 8192, {"rope_type": "default", "rope_theta": 500000.0}),
    "default, head of 6": (6, 2048, {"rope_type": "default", "rope_theta": 1000000.0}),
    "linear": (64, 4096, {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}),
    "dynamic": (64, 2048, {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.5}),
    "llama3": (
        128,
        131072,
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
    "llama3, factor 32": (
        64,
        131072,
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
    "yarn": (
        128,
        131072,
        {
            "rope_type": "yarn",
            "rope_theta": 1000000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 32768,
        },
    ),
    "yarn, mscale, exact bounds": (
        64,
        4096,
        {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 40.0,
            "original_max_position_embeddings": 2048,
            "beta_fast": 24,
            "beta_slow": 2,
            "mscale": 1.0,
            "mscale_all_dim": 0.8,
            "truncate": False,
        },
    ),
    "yarn, attention factor": (
        32,
        4096,
        {
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 2.0,
            "original_max_position_embeddings": 2048,
            "attention_factor": 1.25,
        },
    ),
}


def record(head_dim, max_positions, rope_parameters):
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=2 * head_dim,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=max_positions,
        architectures=["LlamaForCausalLM"],
        rope_parameters=dict(rope_parameters),
    )
    rope = LlamaRotaryEmbedding(config)
    cos, sin = rope(torch.zeros(1), torch.tensor([POSITIONS]))
    half = head_dim // 2
    return {
        "config": {k: v for k, v in config.to_dict().items() if v is not None},
        "positions": POSITIONS,
        "inverse_frequencies": rope.inv_freq.tolist(),
        "attention_factor": rope.attention_scaling,
        "cos": cos[0, :, :half].tolist(),
        "sin": sin[0, :, :half].tolist(),
    }


def main():
    torch.manual_seed(0)
    out = pathlib.Path(__file__).parent.parent / "trainer/src/test/resources/rope/golden.json"
    golden = {name: record(*setting) for name, setting in SETTINGS.items()}
    out.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
