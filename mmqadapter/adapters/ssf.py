"""SSF: a scale and a shift behind every operation of a block."""

from __future__ import annotations

from torch import nn

from mmqadapter.adapters.layer_vectors import LayerVectors, is_norm
from mmqadapter.registry import MODELS


@MODELS.register_module()
class SSF(LayerVectors):
    """Scale and shift of the output of each linear layer and norm (arXiv 2211.09109).

    A block of a plain ViT gets 22 C numbers: two for each output of its norms, of q, k and v, of
    the projection behind attention, and of the MLP with its hidden layer of 4 C. The patch
    embedding and the last norm of the net, outside of the blocks, have none.
    """

    @classmethod
    def takes(cls, layer: nn.Module) -> bool:
        """Return whether a layer is linear or a norm."""
        return isinstance(layer, nn.Linear) or is_norm(layer)
