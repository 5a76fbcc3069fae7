"""Conv-Adapter: a grouped convolution and a 1x1 projection beside a convolution of the trunk."""

from __future__ import annotations

from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters.arguments import is_size, require_sizes
from mmqadapter.adapters.base import Matrix, TokenAdapter
from mmqadapter.registry import MODELS
from mmqadapter.utils.token_grid import as_map


@MODELS.register_module()
class ParallelConvAdapter(TokenAdapter):
    """Adapter beside the k x k convolution of a residual block: alpha * up(ReLU(down(x))).

    Conv-Adapter of arXiv 2208.07463 in the form that the paper calls *convolution parallel*: it
    reads the input of a block's convolution and adds to its output, with the same stride and
    dilation, so that both see the same pixels. ``down`` is a
    convolution C -> C / compression with as many groups, ``up`` a 1x1 projection to the outputs C',
    and alpha has one trained factor per output, which starts at 1. A block gets one adapter of
    C k^2 + C' C / compression weights, which can be quantized (the convolution as well, which would
    otherwise be most of what is stored), and C' factors.

    Args:
        channels: Channels C of the input.
        compression: C over the width of the bottleneck.
        kernel_size: Odd size k of the convolution.
        scale: Factor on the output: a number, or ``'learned'``.
        outputs: Channels C' of the output; None for C.
        stride: Stride of the convolution beside it.
        dilation: Dilation of the convolution beside it.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('conv',)
    spatial = True

    def __init__(
        self,
        channels: int,
        compression: int = 4,
        kernel_size: int = 3,
        scale: float | str = 1.0,
        outputs: int | None = None,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__(scale)
        require_sizes(compression=compression, stride=stride, dilation=dilation)
        if not is_size(kernel_size) or kernel_size % 2 == 0:
            raise ValueError(
                f'kernel_size={kernel_size!r} is invalid: expected an odd number, such as 3.'
            )
        width, outputs = max(channels // compression, 1), outputs or channels
        self.down = nn.Conv2d(
            channels,
            width,
            kernel_size,
            stride,
            padding=dilation * (kernel_size // 2),
            dilation=dilation,
            groups=gcd(channels, width),
            bias=False,
        )
        self.activation = nn.ReLU()
        self.up = nn.Linear(width, outputs, bias=False)
        self.alpha = nn.Parameter(torch.ones(outputs))
        self.reset_parameters()

    def matrices(self) -> list[Matrix]:
        """Return both layers."""
        return [self.down, self.up]

    def ends(self) -> list[Matrix]:
        """Return the projection to the outputs."""
        return [self.up]

    def beside(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the ``output`` (B, C', H', W') of the convolution on ``x``, plus the change."""
        change = self(x.flatten(2).transpose(1, 2), tuple(x.shape[2:]))
        return output + change.transpose(1, 2).view_as(output)

    def hidden(self, x: Tensor, *grid: Any) -> Tensor:
        """Return the activated bottleneck (B, H' * W', r) of tokens (B, H * W, C)."""
        return self.activation(self.down(as_map(x, *grid))).flatten(2).transpose(1, 2)

    def last_projection(self) -> tuple[Tensor, Tensor | None]:
        """Return alpha times the up-projection."""
        return self.alpha[:, None] * self.up.weight, None
