"""Stems: modules that compute the start of the side stream from the images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmqadapter.adapters import quantize_matrices
from mmqadapter.adapters.arguments import require_sizes
from mmqadapter.highway.recompute import Recompute
from mmqadapter.highway.saved_taps import FloatTap
from mmqadapter.registry import MODELS

# Std from which a quantized projection starts: small, since it cannot be zero.
END_STD = 1e-3


class Stem(nn.Module):
    """Base of all stems: images (B, 3, H, W) -> side stream before the first tap, float32.

    Args:
        stride: Pixels between neighboring tokens.
        channels: Channels C of the first tap.
    """

    def __init__(self, stride: int, channels: int) -> None:
        super().__init__()
        self.stride, self.channels = stride, channels

    def quantize(self, quantizer: dict) -> None:
        """Parametrize the weights with quantizers; this class has none."""


@MODELS.register_module()
class NoStem(Stem):
    """Stem that starts the side stream at zero (arXiv 2306.09729)."""

    def forward(self, images: Tensor) -> Tensor:
        """Return zeros (1, 1, 1), float32, for images (B, 3, H, W)."""
        return images.new_zeros(1, 1, 1, dtype=torch.float32)


@MODELS.register_module()
class ConvStem(Stem):
    """Stem of convolutions, for edges that the patch embedding loses.

    Two 3 x 3 convolutions of stride 2 and one of stride 1 are followed by a projection of all n
    positions under a token to C channels: 3 * 9 r + 18 r^2 + n r C weights (n = 16 for patches of
    16 pixels). The projection starts at zero. Activation memory (saved for backward) is the image
    alone.

    Args:
        stride: Pixels between neighboring tokens.
        channels: Channels C of the first tap.
        width: Channels r of the convolutions.

    Raises:
        ValueError: ``width`` below 1.
    """

    def __init__(self, stride: int, channels: int, width: int = 32) -> None:
        super().__init__(stride, channels)
        require_sizes(width=width)
        first, second = (2 if stride % step == 0 else 1 for step in (2, 4))
        remaining = stride // (first * second)
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, first, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, second, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, 1, 1),
            nn.GELU(),
            nn.Conv2d(width, channels, remaining, remaining),
        )
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
        self._recompute = Recompute(FloatTap)

    @torch.no_grad()
    def quantize(self, quantizer: dict) -> None:
        """Parametrize all kernels but the first, which has few weights, with quantizers."""
        _, *quantized = (layer for layer in self.layers if isinstance(layer, nn.Conv2d))
        nn.init.trunc_normal_(quantized[-1].weight, std=END_STD, a=-2 * END_STD, b=2 * END_STD)
        quantize_matrices(quantized, quantizer)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, ceil(H / stride) * ceil(W / stride), C), float32."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.stride, 0, -height % self.stride))
        return self._recompute(self.layers, images).float().flatten(2).transpose(1, 2).contiguous()
