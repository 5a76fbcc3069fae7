"""Sequential adapter: a bottleneck after each branch of a block."""

from __future__ import annotations

from torch import nn

from mmqadapter.adapters.base import Bottleneck
from mmqadapter.registry import MODELS


@MODELS.register_module()
class SequentialAdapter(Bottleneck):
    """Bottleneck with GELU on the output of a branch, before its residual sum (arXiv 1902.00751).

    A block gets two adapters (attention, MLP), each with 2 C r weights and r + C biases.

    Args:
        channels: Channels C of the block.
        width: Width r of the bottleneck.
        bias: Whether both projections have a bias.
        scale: Factor on the output: a number, or ``'learned'``.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('attn_branch', 'mlp_branch')

    def __init__(
        self, channels: int, width: int, bias: bool = True, scale: float | str = 1.0
    ) -> None:
        super().__init__(channels, width, nn.GELU(), bias, scale)
