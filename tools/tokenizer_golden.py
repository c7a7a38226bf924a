"""Writes trainer/src/test/resources/tokenizer/golden.jsonl: ids and texts as transformers gives them.

Run with transformers 5.18: python tools/tokenizer_golden.py
"""

import json
import pathlib

from transformers import AutoTokenizer

MODELS = ["llama", "llama-rope3", "mistral", "qwen2", "qwen3", "gemma2", "gpt2"]
TEXTS = [
    "",
    " ",
    "  two leading, two trailing  ",
    "plain words",
    "Hello, world! It's 2026; they'll pay $1,234.56 (or 12345678).",
    "line one\nline two\r\nline three\n\n\n",
    "tab\tand\u00a0no-break\u2003em space",
    "caf\u00e9 cafe\u0301 \u212b na\u00efve",
    "\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u3002",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1f5\U0001f1e6",
    "nul \u0000 inside and \u0001\u007f controls",
    "\ufeffbyte order mark \ufffd",
    "<|begin_of_text|>special<|eot_id|> <s>tokens</s> <bos><eos><|endoftext|><|im_end|>",
    "def f(x):\n    return x ** 2  # comment\n",
    "a" * 300,
    "x " * 300,
    "\u2581underscore\u2581block",
]


def main():
    root = pathlib.Path(__file__).parent.parent / "trainer/src/test/resources"
    with open(root / "tokenizer/golden.jsonl", "w", encoding="utf-8") as out:
        for model in MODELS:
            tokenizer = AutoTokenizer.from_pretrained(root / f"goldens/models/tiny-{model}")
            for text in TEXTS:
                ids = tokenizer(text)["input_ids"]
                row = {
                    "model": f"tiny-{model}",
                    "text": text,
                    "ids": ids,
                    "ids_without_special": tokenizer(text, add_special_tokens=False)["input_ids"],
                    "decoded": tokenizer.decode(ids, clean_up_tokenization_spaces=False),
                    "decoded_without_special": tokenizer.decode(
                        ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
                    ),
                }
                out.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
