"""BitFit as an adapter, so that it can be quantized: differences to the biases of a block."""

from __future__ import annotations

from torch import nn

from mmqadapter.adapters.layer_vectors import LayerVectors, is_norm
from mmqadapter.registry import MODELS


@MODELS.register_module()
class BitFit(LayerVectors):
    """Trained differences to the biases of linear layers and norms (arXiv 2106.10199).

    In float it is what ``FrozenBackbone(train='bitfit')`` trains in the blocks, which trains the
    biases outside of the blocks as well. A block of a plain ViT gets 11 C numbers.
    """

    with_gains = False

    @classmethod
    def takes(cls, layer: nn.Module) -> bool:
        """Return whether a layer is linear or a norm, and has a bias."""
        known = isinstance(layer, nn.Linear) or is_norm(layer)
        return known and getattr(layer, 'bias', None) is not None
