"""Writes trainer/src/test/resources/tokenizer/{corpus.txt,bpe.json}: merges of Hugging Face's BpeTrainer.

Run with tokenizers 0.23: python tools/bpe_golden.py
"""

import json
import pathlib

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITTINGS = {
    "GPT2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "LLAMA3": LLAMA3,
    "QWEN2": LLAMA3.replace("{1,3}", ""),
}
EXTRA = """\
aaa aaaa aaaaa aaaaaa aab aabb abab ababab\r
It's THEY'LL we've I'd 12345678 1,234.56 3.14159  two  spaces   three\t\ttabs
caf\u00e9 cafe\u0301 na\u00efve \u65e5\u672c\u8a9e \u65e5\u672c \U0001f600\U0001f600 \u00a0no-break\u2003em

def f(x):
    return x ** 2  # comment
"""


def main():
    resources = pathlib.Path(__file__).parent.parent / "trainer/src/test/resources"
    corpus = resources / "tokenizer/corpus.txt"
    rows = map(json.loads, open(resources / "goldens/data/parity.standard.jsonl", encoding="utf-8"))
    lines = [row["prompt"] + row["chosen"] + row["rejected"] + "\n" for row in rows]
    corpus.write_bytes(("".join(lines[:48]) + 3 * EXTRA).encode())
    golden = {}
    for name, regex in SPLITTINGS.items():
        tokenizer = Tokenizer(models.BPE())
        if name == "QWEN2":
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(regex), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=700,
            min_frequency=2,
            special_tokens=["<s>", "</s>", "<pad>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train([str(corpus)], trainer)
        model = json.loads(tokenizer.to_str())["model"]
        golden[name] = {"vocab": model["vocab"], "merges": model["merges"]}
    (resources / "tokenizer/bpe.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
