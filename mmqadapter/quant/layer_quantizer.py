"""Quantizer of a linear or convolutional layer: float16 statistics per output channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from mmqadapter.quant.packing import pack, packed_bytes, unpack
from mmqadapter.quant.quantizer import Encoded, GaussianQuantizer

Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
# Attribute of a layer: the PackedWeight from which its weight was decoded, or None.
CODES_ATTRIBUTE = 'packed_weight'


class LayerQuantizer(GaussianQuantizer):
    """Gaussian quantizer of a linear or convolutional layer, such as those of a neck or head.

    It uses one mean and std per output channel, rounded to float16 before use, in training as well:
    the stored values (4 bytes per channel) are exactly those of training.

    Args:
        bits: Width of a stored weight, in bits: 1, 2, 4 or 8.
        output_dim: Dimension of the weight that counts output channels: 1 in a transposed
            convolution (channels of each group), 0 elsewhere.

    Raises:
        ValueError: Unknown ``bits``.
    """

    statistics_dtype = torch.float16

    def __init__(self, bits: int, output_dim: int = 0) -> None:
        super().__init__(bits, granularity='channel')
        self.output_dim = output_dim

    def pack(self, weight: Tensor) -> PackedWeight:
        """Quantize a latent ``weight`` and return it as it is stored, on the CPU.

        Raises:
            ValueError: A channel of ``weight`` is constant, or holds NaN or inf.
        """
        encoded = self.encode(weight)
        statistics = (t.reshape(-1).cpu().half() for t in (encoded.mean, encoded.std))
        codes = pack(encoded.codes, self.bits)
        return PackedWeight(self.bits, self.output_dim, tuple(weight.shape), codes, *statistics)


@dataclass(frozen=True)
class PackedWeight:
    """A quantized weight as it is stored.

    Attributes:
        bits: Width of a code, in bits.
        output_dim: Dimension of ``shape`` that counts output channels.
        shape: Shape of the weight.
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
        """New quantizer with these settings."""
        return LayerQuantizer(self.bits, self.output_dim)

    def encoded(self) -> Encoded:
        """Return codes and statistics in the shapes that a quantizer expects."""
        shape = self.quantizer.statistics_shape(self.shape)
        codes = unpack(self.codes, self.bits, torch.Size(self.shape).numel()).view(self.shape)
        return Encoded(codes, *(t.float().view(shape) for t in (self.mean, self.std)))

    def decode(self) -> Tensor:
        """Return the weight (float32), bit for bit the one that training used."""
        return self.quantizer.decode(self.encoded())


def output_dim(layer: Layer) -> int:
    """Return the dimension of a layer's weight that counts output channels."""
    return int(isinstance(layer, nn.ConvTranspose2d))


def stored_codes(layer: Layer) -> PackedWeight | None:
    """Return the codes attached to ``layer``; None if there are none or the weight has changed."""
    packed = layer.__dict__.get(CODES_ATTRIBUTE)
    if packed is None or not torch.equal(packed.decode().to(layer.weight), layer.weight):
        return None
    return packed


def attach_codes(layer: Layer, packed: PackedWeight) -> None:
    """Attach to ``layer`` the codes from which its weight was decoded, for saving them again."""
    layer.__dict__[CODES_ATTRIBUTE] = packed


def clear_codes(model: nn.Module) -> None:
    """Remove attached codes from all layers of ``model`` and let the weights of these train."""
    layers = [module for module in model.modules() if isinstance(module, get_args(Layer))]
    for layer in layers:
        if layer.__dict__.pop(CODES_ATTRIBUTE, None) is not None:
            layer.get_parameter('weight').requires_grad_(True)


def stored_sizes(bits: int, dim: int, shape: Sequence[int]) -> tuple[int, int]:
    """Return the bytes of codes and the number of means and stds of a weight of ``shape``."""
    count = torch.Size(shape).numel()
    return packed_bytes(count, bits), 2 * LayerQuantizer(bits, dim).statistics_count(shape)
