"""Merging of the side stream by the trunk's own steps between two stages, frozen and linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from mmqadapter.highway.downsample import InheritedMerging
from mmqadapter.utils.token_grid import Grid, as_map, patch_weights, to_patches

BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)


class EvenPadding(nn.Module):
    """Zeros at the bottom and right of maps of odd height or width, as some mergings add."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, H, W) of even height and width."""
        return F.pad(maps, (0, maps.shape[3] % 2, 0, maps.shape[2] % 2))


class InheritedSteps(nn.Module):
    """The trunk's norms and its strided convolution between two stages, frozen, without biases.

    As in :class:`InheritedMerging`, a norm multiplies each token of the side stream by its weight
    and divides it by the deviation of the trunk's token at the same position, a constant: the
    merging is linear in the side stream and zero at zero. What the trunk's tokens are at each norm
    is computed from its stream at the end of the stage.

    Args:
        steps: Norms over C channels and one linear step (an ``nn.Conv2d``, or an ``nn.Linear`` on
            patches of 2 x 2 tokens), in execution order; steps without weights, such as paddings,
            are applied as they are.
        order: Order in which the trunk puts 2 x 2 tokens into 4 C channels, for an ``nn.Linear``.

    Raises:
        ValueError: A step of another kind.
    """

    def __init__(self, steps: Sequence[nn.Module], order: str) -> None:
        super().__init__()
        # In a tuple, which hides them from PyTorch: the trunk owns and saves them.
        self._steps = tuple(step for step in steps if not isinstance(step, nn.Identity))
        self._order = order
        self.stride = merging_stride(steps)
        for step in self._steps:
            _require_known(step)

    def forward(self, h: Tensor, trunk: Tensor, grid: Grid) -> Tensor:
        """Merge tokens: (B, H * W, C) -> (B, H' * W', C').

        Args:
            h: Side stream.
            trunk: The trunk's stream at the end of the stage, same shape, without a graph.
            grid: Height and width of both.
        """
        dtype, h = h.dtype, h.float()
        for number, step in enumerate(self._steps):
            # A batch norm needs no tokens: it has deviations of its own.
            later = self._steps[number + 1 :]
            normed_later = any(_is_norm(s) and not _is_batch_norm(s) for s in later)
            if _is_norm(step):
                h = h * _gain(step, trunk)
                trunk = _normed(step, trunk) if normed_later else trunk
                continue
            h, merged = self._merge(step, h, grid)
            with torch.no_grad():
                trunk = self._merge(step, trunk, grid, biased=True)[0] if normed_later else trunk
            grid = merged
        return h.to(dtype)

    def _merge(self, step: Any, x: Tensor, grid: Grid, biased: bool = False) -> tuple[Tensor, Grid]:
        """Return the tokens that a step makes of others, and their grid."""
        bias = step.bias if biased and isinstance(step, (nn.Linear, nn.Conv2d)) else None
        if isinstance(step, nn.Linear):
            weight = patch_weights(step.weight, self._order)
            merged = F.linear(to_patches(x, grid).to(weight.dtype), weight, bias)
            return merged, ((grid[0] + 1) // 2, (grid[1] + 1) // 2)
        maps = as_map(x, grid)
        if isinstance(step, nn.Conv2d):
            maps = _FrozenConvolution.apply(maps.to(step.weight.dtype), step, bias)
        else:
            maps = step.forward(maps)  # past hooks, which are for the trunk's own run
        return maps.flatten(2).transpose(1, 2), tuple(maps.shape[2:])


class _FrozenConvolution(torch.autograd.Function):
    """A convolution with a frozen weight that its owner keeps alive: nothing saved for backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: nn.Conv2d, bias: Tensor | None) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer._conv_forward(x, layer.weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        layer = ctx.layer
        options = (layer.stride, layer.padding, layer.dilation, layer.groups)
        weight = layer.weight.to(grad.dtype)
        return conv2d_input(ctx.shape, weight, grad, *options), None, None


def inherit_merging(steps: Sequence[nn.Module], order: str) -> nn.Module:
    """Return the trunk's own merging, frozen and linear, for its steps between two stages."""
    norm, last = steps[0], steps[-1]
    if isinstance(last, nn.Linear) and len(steps) == 1:
        return InheritedMerging(None, last, order)
    # A norm over 4 C channels of a patch, which no step of its own has.
    if isinstance(last, nn.Linear) and len(steps) == 2 and isinstance(norm, nn.LayerNorm):
        return InheritedMerging(norm, last, order)
    return InheritedSteps(steps, order)


def rounds_down(steps: Sequence[nn.Module]) -> bool:
    """Return whether the steps halve a grid of odd size to the smaller half."""
    strided = [step for step in steps if isinstance(step, (nn.Conv2d, nn.MaxPool2d))]
    paddings = [s for s in steps if not _is_norm(s) and not list(s.parameters())]
    paddings = [s for s in paddings if not isinstance(s, (nn.Identity, nn.MaxPool2d))]
    if not strided or paddings:
        return False
    return strided[0].padding in (0, (0, 0), 'valid') and _side(strided[0].kernel_size) > 1


def merging_stride(steps: Sequence[nn.Module]) -> int:
    """Return how many tokens of each side of the grid become one in the steps between stages."""
    return math.prod(_stride(step) for step in steps)


def _stride(step: nn.Module) -> int:
    """Return the stride of a step; branches inside it, such as a shortcut, have the same."""
    if isinstance(step, nn.Linear):
        return 2  # on patches of 2 x 2 tokens
    strided = (m for m in step.modules() if isinstance(m, (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)))
    return max((_side(module.stride) for module in strided), default=1)


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _is_norm(step: nn.Module) -> bool:
    return isinstance(step, (*BATCH_NORMS, nn.GroupNorm)) or hasattr(step, 'normalized_shape')


def _is_batch_norm(step: nn.Module) -> bool:
    return isinstance(step, BATCH_NORMS)


def _require_known(step: nn.Module) -> None:
    # A subclass with a forward of its own standardizes its weight, or pads first.
    plain = isinstance(step, nn.Conv2d) and type(step).forward is nn.Conv2d.forward
    known = _is_norm(step) or isinstance(step, nn.Linear) or plain
    if not known and (list(step.parameters()) or isinstance(step, nn.MaxPool2d)):
        raise ValueError(
            f"downsample='inherited' is invalid for a step {type(step).__name__} between stages: "
            "expected norms and a linear layer or convolution; use downsample='low-rank'."
        )


@torch.no_grad()
def _gain(norm: Any, tokens: Tensor) -> Tensor:
    """Return what a norm multiplies a small change of tokens (B, L, C) by."""
    weight = 1.0 if norm.weight is None else norm.weight
    if _is_batch_norm(norm):
        return weight / (norm.running_var + norm.eps).sqrt()
    x = tokens.float()
    if isinstance(norm, nn.GroupNorm):
        groups = x.unflatten(-1, (norm.num_groups, -1))
        deviation = (groups.var((1, 3), correction=0, keepdim=True) + norm.eps).sqrt()
        return weight / deviation.expand(-1, -1, -1, groups.shape[-1]).flatten(2)
    if 'rms' in type(norm).__name__.lower():
        return weight / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    return weight / (x.var(-1, correction=0, keepdim=True) + norm.eps).sqrt()


@torch.no_grad()
def _normed(norm: Any, tokens: Tensor) -> Tensor:
    """Return tokens (B, L, C) after a norm, for maps or for tokens."""
    x, gain = tokens.float(), _gain(norm, tokens)
    if _is_batch_norm(norm):
        x = x - norm.running_mean
    elif isinstance(norm, nn.GroupNorm):
        groups = x.unflatten(-1, (norm.num_groups, -1))
        x = (groups - groups.mean((1, 3), keepdim=True)).flatten(2)
    elif 'rms' not in type(norm).__name__.lower():
        x = x - x.mean(-1, keepdim=True)
    bias = getattr(norm, 'bias', None)
    return x * gain if bias is None else x * gain + bias
