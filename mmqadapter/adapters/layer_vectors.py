"""Base class of adapters that shift and scale the outputs of layers, channel by channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmqadapter.adapters.base import Adapter


class Vector(nn.Module):
    """A trained number per channel, from zero on; named ``weight`` as what quantizers act on."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels))


class LayerVectors(Adapter):
    """Base of adapters on layers of a block: y -> y + scale * (gain * y + shift).

    y is a layer's output, whose last axis is that of channels; gain and shift have a number for
    each channel. They are differences to the trunk, with which training starts: float vectors start
    at zero. Quantized ones cannot be zero, but the learned scale then starts at 0; with a fixed
    scale they start with a deviation of 1e-3. Each vector has a mean and a deviation of its own.

    Args:
        channels: Channels C of the block.
        scale: Factor on gain and shift: a number, or ``'learned'``.
        outputs: Channels of each layer's output, by the layer's name in the block; the backbone
            sets it.

    Raises:
        ValueError: An invalid argument.
    """

    sites = ('layers',)
    with_gains: ClassVar[bool] = True

    def __init__(
        self,
        channels: int,
        scale: float | str = 'learned',
        outputs: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(scale)
        self.shifts, self.gains = nn.ModuleDict(), nn.ModuleDict()
        for name, size in (outputs or {}).items():
            self.shifts[key(name)] = Vector(size)
            if self.with_gains:
                self.gains[key(name)] = Vector(size)

    @classmethod
    def layers_of(cls, block: nn.Module) -> dict[str, int]:
        """Return the channels of what the layers that it changes return, by name in the block."""
        layers: Any = block.named_modules()
        return {name: output_channels(m) for name, m in layers if name and cls.takes(m)}

    @classmethod
    def takes(cls, layer: nn.Module) -> bool:
        """Return whether it changes the output of a layer."""
        raise NotImplementedError

    def matrices(self) -> list[Any]:
        """Return all vectors, in the order of storage."""
        return [*self.shifts.values(), *self.gains.values()]

    def ends(self) -> list[Any]:
        """Return all vectors."""
        return self.matrices()

    def forward(self, output: Tensor, part: str) -> Tensor:
        """Return the changed output (..., C) of the layer named ``part``, in its dtype."""
        changed = output + self._scaled(self.shifts, part)
        if self.with_gains:
            changed = changed + output * self._scaled(self.gains, part)
        return changed.to(output.dtype)

    def _scaled(self, vectors: nn.ModuleDict, part: str) -> Tensor:
        vector: Any = vectors[key(part)]
        return self.scale(vector.weight)


def key(layer: str) -> str:
    """Return the name of a layer as a key of a ``ModuleDict``, which has no dots."""
    return layer.replace('.', '_')


def is_norm(layer: nn.Module) -> bool:
    """Return whether a layer is a norm over the last axis: a layer norm or an RMS norm."""
    return hasattr(layer, 'normalized_shape') and '2d' not in type(layer).__name__.lower()


def output_channels(layer: Any) -> int:
    """Return the channels of what a linear layer or a norm returns."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.normalized_shape[-1]
