"""The trunk's own neck or norm behind a block, for a map of a highway."""

from __future__ import annotations

from torch import Tensor, nn


class InheritedNeck(nn.Module):
    """The trunk's neck, frozen: gradients cross it, and it is neither trained nor saved again.

    Args:
        neck: Module from a map (B, C, H, W) to a map (B, C', H, W), or a norm of tokens.
    """

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        # In a tuple, which hides it from PyTorch: the trunk owns and saves it.
        self._inherited = (neck,)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H, W), or tokens (B, L, C) to normed ones."""
        return self._inherited[0](x)
