"""The quantiser of a whole layer: statistics per output channel, kept as float16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from mmqadapter.quant.packing import pack, packed_bytes, unpack
from mmqadapter.quant.quantizer import Encoded, GaussianQuantizer

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
# Attribute of a layer: the PackedWeight that its weight came from, or None.
KEPT = 'packed_weight'


class LayerQuantizer(GaussianQuantizer):
    """GaussianQuantizer of a linear or convolutional layer, such as those of a neck or head.

    One mean and std per output channel. They are rounded to float16 before they are used, in
    training as well: what is stored is what trained, at 4 bytes a channel.

    Args:
        bits: Width of a stored weight, in bits: 1, 2, 4 or 8.
        output_dim: The weight's dimension of output channels: 1 in a transposed convolution (of
            each group), 0 elsewhere.

    Raises:
        ValueError: Unknown ``bits``.
    """

    statistics_dtype = torch.float16

    def __init__(self, bits: int, output_dim: int = 0) -> None:
        super().__init__(bits, granularity='channel')
        self.output_dim = output_dim

    def pack(self, weight: Tensor) -> PackedWeight:
        """The latent ``weight`` as it is stored, on the CPU.

        Raises:
            ValueError: A channel of ``weight`` is constant, or holds NaN or inf.
        """
        encoded = self.encode(weight)
        statistics = (t.reshape(-1).cpu().half() for t in (encoded.mean, encoded.std))
        codes = pack(encoded.codes, self.bits)
        return PackedWeight(self.bits, self.output_dim, tuple(weight.shape), codes, *statistics)


@dataclass(frozen=True)
class PackedWeight:
    """A quantised weight as it is stored.

    Attributes:
        bits: Width of a code.
        output_dim: Dimension of ``shape`` that counts output channels.
        shape: Of the weight.
        codes: uint8 (ceil(n * bits / 8),), see :func:`mmqadapter.quant.pack`.
        mean: float16 (channels,).
        std: float16 (channels,).
    """

    bits: int
    output_dim: int
    shape: tuple[int, ...]
    codes: Tensor
    mean: Tensor
    std: Tensor

    @property
    def quantizer(self) -> LayerQuantizer:
        """A quantiser of these settings."""
        return LayerQuantizer(self.bits, self.output_dim)

    def encoded(self) -> Encoded:
        """Codes and statistics in the shapes that a quantiser takes."""
        shape = self.quantizer.statistics_shape(self.shape)
        codes = unpack(self.codes, self.bits, torch.Size(self.shape).numel()).view(self.shape)
        return Encoded(codes, *(t.float().view(shape) for t in (self.mean, self.std)))

    def decode(self) -> Tensor:
        """The weight (float32), bit for bit what training used."""
        return self.quantizer.decode(self.encoded())


def output_dim(layer: Layer) -> int:
    """Which dimension of a layer's weight counts output channels."""
    return int(isinstance(layer, nn.ConvTranspose2d))


def kept_codes(layer: Layer) -> PackedWeight | None:
    """What the weight of ``layer`` was decoded from; None once the weight is another one."""
    kept = layer.__dict__.get(KEPT)
    if kept is None or not torch.equal(kept.decode().to(layer.weight), layer.weight):
        return None
    return kept


def keep_codes(layer: Layer, packed: PackedWeight) -> None:
    """Note what the weight of ``layer`` was decoded from."""
    layer.__dict__[KEPT] = packed


def forget_codes(model: nn.Module) -> None:
    """Undo :func:`keep_codes` in all layers of ``model``; their weights may train again."""
    for module in model.modules():
        if isinstance(module, get_args(Layer)) and module.__dict__.pop(KEPT, None) is not None:
            module.get_parameter('weight').requires_grad_(True)


def stored_sizes(bits: int, dim: int, shape: Sequence[int]) -> tuple[int, int]:
    """Bytes of codes, and numbers of means and stds together, of a weight of ``shape``."""
    count = torch.Size(shape).numel()
    return packed_bytes(count, bits), 2 * LayerQuantizer(bits, dim).statistics_count(shape)
