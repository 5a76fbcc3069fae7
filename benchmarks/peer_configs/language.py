"""A small BERT with random weights, in files as transformers reads them."""

from __future__ import annotations

import string
from pathlib import Path

import torch

WORDS = ('cat', 'dog', 'box')
SPECIAL = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '.', '?')


def write_language_model(folder: Path) -> None:
    """Write a BERT of two layers and its tokenizer to a folder."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = [*string.ascii_lowercase, *(f'##{letter}' for letter in string.ascii_lowercase)]
    vocabulary = [*SPECIAL, *WORDS, *letters]
    (folder / 'vocab.txt').write_text('\n'.join(vocabulary))
    BertTokenizerFast(str(folder / 'vocab.txt')).save_pretrained(folder)
    config = BertConfig(vocab_size=len(vocabulary), num_hidden_layers=2, intermediate_size=256)
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
