"""Records how TRL's SFTTrainer tokenizes, labels and truncates text rows: sft_tokens.jsonl for each golden model.

    python make_sft_tokens.py --models GOLDENS/models --out GOLDENS
"""
import argparse
import json
import os

from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

MODELS = ["tiny-llama", "tiny-llama-rope3", "tiny-mistral", "tiny-qwen2", "tiny-qwen3", "tiny-gemma2", "tiny-gpt2"]
ROWS = [
    {"prompt": "plain", "completion": " one two."},
    {"prompt": "space at the end ", "completion": "one two."},
    {"prompt": "no space", "completion": "joined words"},
    {"prompt": "already ended", "completion": " yes@EOS@"},
    {"prompt": "empty answer", "completion": ""},
    {"prompt": "", "completion": "no prompt"},
    {"prompt": "accents é 東京 🙂", "completion": " naïve Größe"},
    {"prompt": "a prompt that is much longer than its answer", "completion": " yes."},
    {"text": "plain text, all of it imitated."},
    {"text": "already ended@EOS@"},
    {"text": ""},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    for model in MODELS:
        tokenizer = AutoTokenizer.from_pretrained(os.path.join(args.models, model))
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        with open(os.path.join(args.out, model, "sft_tokens.jsonl"), "w", encoding="utf-8") as f:
            for row in ROWS:
                row = {k: v.replace("@EOS@", tokenizer.eos_token) for k, v in row.items()}
                for completion_only in (True, False):
                    for mode in ("keep_start", "keep_end"):
                        for max_length in (None, 6):
                            trainer = SFTTrainer.__new__(SFTTrainer)
                            trainer._tokenizer = tokenizer
                            trainer.chat_template = None
                            trainer.completion_only_loss = completion_only
                            trainer._is_vision_dataset = False
                            config = SFTConfig(use_cpu=True, bf16=False, output_dir="x", report_to="none",
                                               max_length=max_length, truncation_mode=mode)
                            data = trainer._prepare_dataset(Dataset.from_list([row]), tokenizer, config, False, None, "train")
                            item = {"row": row, "completion_only": completion_only, "mode": mode, "max_length": max_length,
                                    "kept": len(data) == 1}
                            if len(data):
                                item["input_ids"] = data[0]["input_ids"]
                                item["labels"] = data[0]["labels"]
                            f.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
