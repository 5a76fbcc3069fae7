"""Model of a released task: an adapted ViT and a linear classifier on its class token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.quant import Encoded, GaussianQuantizer, packed_bytes, unpack


class PackedLinear(nn.Module):
    """Linear layer without bias that stores its weight as packed codes; it is not trainable.

    Its state dict is what a file stores, so that a task file of it is as small: ``codes`` of
    n bits / 8 bytes, and ``statistics`` (mean and standard deviation, 8 bytes).

    Args:
        in_features: C.
        out_features: Number of outputs.
        bits: Bits per stored weight.
    """

    codes: Tensor
    statistics: Tensor

    def __init__(self, in_features: int, out_features: int, bits: int = 1) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bits = in_features, out_features, bits
        count = packed_bytes(in_features * out_features, bits)
        self.register_buffer('codes', torch.zeros(count, dtype=torch.uint8))
        self.register_buffer('statistics', torch.tensor([0.0, 1.0]))

    @property
    def weight(self) -> Tensor:
        """Decoded weight (out_features, in_features), float32."""
        shape = (self.out_features, self.in_features)
        codes = unpack(self.codes.cpu(), self.bits, shape[0] * shape[1]).view(shape)
        mean, std = self.statistics
        encoded = Encoded(codes.to(mean.device), mean.view(1, 1), std.view(1, 1))
        return GaussianQuantizer(self.bits).decode(encoded)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., out_features)."""
        return F.linear(x, self.weight.to(x.dtype))

    def extra_repr(self) -> str:
        """Return the settings for ``print(model)``."""
        return f'{self.in_features}, {self.out_features}, bits={self.bits}'


class PetlClassifier(nn.Module):
    """Image classifier: a linear head on the class token of an adapted timm ViT.

    The release was trained on images of 224 x 224, resized with bicubic interpolation, RGB from 0
    to 1, not normalized.

    Args:
        backbone: An ``AdaptedBackbone`` around a ``TimmBackbone`` of a ViT.
        head: Maps (B, C) to (B, classes).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (B, classes) of images (B, 3, H, W)."""
        trunk: Any = self.backbone.trunk
        return self.head(trunk.model.forward_features(x)[:, 0])
