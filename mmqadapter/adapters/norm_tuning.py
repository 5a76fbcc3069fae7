"""Norm tuning as an adapter, so that it can be quantized: vectors on the norms of a block."""

from __future__ import annotations

from torch import nn

from mmqadapter.adapters.layer_vectors import LayerVectors, is_norm
from mmqadapter.registry import MODELS


@MODELS.register_module()
class NormTuning(LayerVectors):
    """Scale and shift of the output of each norm: weight and bias of the norm, in another form.

    A norm of weight w and bias b becomes one of w + w * gain and b + b * gain + shift. In float it
    reaches what ``FrozenBackbone(train='norm')`` reaches in the blocks, which trains the norms
    outside of the blocks as well. A block of a plain ViT gets 4 C numbers.
    """

    @classmethod
    def takes(cls, layer: nn.Module) -> bool:
        """Return whether a layer is a norm."""
        return is_norm(layer)
