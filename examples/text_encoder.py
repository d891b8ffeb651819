"""Relevance per word piece: the methods of vision transformers on a BERT-like text encoder.

    python examples/text_encoder.py

A text model gets a mapping of tensors where a vision model gets pictures. A trace does not care what its tokens are;
a map is one row, with one value for each token behind the class token.
"""

from __future__ import annotations

import torch
from transformers import BertConfig, BertForSequenceClassification

import vitscope as vs

SENTENCE = "the plot is thin but the acting is a delight"
METHODS = ["rollout", "gmar", "gae", "attnlrp"]


def small_classifier(words: int) -> BertForSequenceClassification:
    """A BERT classifier of three classes with random weights; attention through the fused kernel."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=words + 3,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        num_labels=3,
    )
    return BertForSequenceClassification(config).eval()


def main() -> None:
    """Explain the prediction for one sentence, token by token."""
    words = SENTENCE.split()
    known = {word: index + 3 for index, word in enumerate(dict.fromkeys(words))}
    # [CLS] sentence [SEP], as a tokenizer would give it (0 is padding).
    tokens = [1, *(known[word] for word in words), 2]
    inputs = {
        "input_ids": torch.tensor([tokens]),
        "attention_mask": torch.ones(1, len(tokens), dtype=torch.long),
    }

    vit = vs.open_model(small_classifier(len(known)))
    found = vs.explain(vit, inputs, method=METHODS, target="top1")

    # Each method has units of its own: shown is each token's share of the absolute relevance, in percent.
    maps = {name: found[name].maps[0].flatten() for name in METHODS}
    print(f"{'':10}" + "".join(f"{name:>10}" for name in METHODS))
    for place, word in enumerate([*words, "[SEP]"]):
        row = [100 * float(values[place] / values.abs().sum()) for values in maps.values()]
        print(f"{word:10}" + "".join(f"{value:10.1f}" for value in row))


if __name__ == "__main__":
    main()
