"""Visual prompts: trained tokens beside those of the image."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmqadapter.adapters.arguments import require_sizes
from mmqadapter.adapters.base import Adapter
from mmqadapter.registry import MODELS

PATCH_VALUES = 3 * 16 * 16


@MODELS.register_module()
class Prompts(Adapter):
    """Trained tokens that each block gets beside those of the image (VPT-deep, arXiv 2203.12119).

    A block attends to them; what it makes of them is dropped behind it. For plain ViTs alone, whose
    blocks take any number of tokens. Not even float prompts start at the trunk, since a token that
    is added takes part of the attention. They start as published for patches of 16 x 16, uniform in
    +-sqrt(6 / (768 + C)). What is quantized are the tokens themselves, those of a block as one
    matrix (count, C).

    Args:
        channels: Channels C of the block.
        count: Number of tokens.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('prompts',)
    # Whether the next blocks get what the first one makes of the prompts.
    carried: ClassVar[bool] = False

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        require_sizes(count=count)
        self.tokens = nn.Embedding(count, channels)
        bound = math.sqrt(6 / (PATCH_VALUES + channels))
        nn.init.uniform_(self.tokens.weight, -bound, bound)

    def matrices(self) -> list[Any]:
        """Return the layer whose weight is the tokens."""
        return [self.tokens]

    def ends(self) -> list[Any]:
        """Return nothing, since no output can start at zero."""
        return []

    def forward(self, prompts: Tensor | None, tokens: Tensor) -> Tensor:
        """Return the tokens (B, L, C) of an image behind prompts: (B, count + L, C).

        Args:
            prompts: What the block before made of the prompts (B, count, C); None for the trained
                ones.
            tokens: Tokens of the image.
        """
        if prompts is None:
            prompts = self.tokens.weight.to(tokens.dtype).expand(len(tokens), -1, -1)
        return torch.cat([prompts, tokens], 1)


@MODELS.register_module()
class ShallowPrompts(Prompts):
    """Trained tokens that the first block gets and that go on through all blocks (VPT-shallow).

    They are refused with activation checkpointing of whole blocks, which would start the second run
    of a block without what the block before made of them.
    """

    carried = True
