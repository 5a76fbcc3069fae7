"""Head of mmpretrain for the 1-bit classifiers of the release; a config imports this module."""

from __future__ import annotations

from typing import Any

from mmpretrain.models.heads import ClsHead
from torch import Tensor

from mmqadapter.interop.petl_vit.classifier import PackedLinear
from mmqadapter.registry import MODELS


@MODELS.register_module()
class PackedClsHead(ClsHead):
    """Linear classifier without bias whose weight is stored as packed codes; it does not train.

    Args:
        num_classes: Number of outputs.
        in_channels: C.
        bits: Bits per stored weight.
        **common: Arguments of mmpretrain's ``ClsHead``.
    """

    def __init__(self, num_classes: int, in_channels: int, bits: int = 1, **common: Any) -> None:
        super().__init__(**common)
        self.fc = PackedLinear(in_channels, num_classes, bits)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Compute logits (B, classes) of the last output of a backbone or neck, (B, C)."""
        return self.fc(self.pre_logits(feats))
