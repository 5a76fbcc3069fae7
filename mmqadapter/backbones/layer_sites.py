"""Sites of adapters that change the outputs of layers inside a block."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmqadapter.adapters import LayerVectors
from mmqadapter.backbones.family import BlockFamily


class LayerSite:
    """Adapter on the output of one layer: A(y), under the layer's name.

    Args:
        adapter: Adapter of the whole block.
        name: Name of the layer in the block.
        layer: The layer.
    """

    def __init__(self, adapter: LayerVectors, name: str, layer: nn.Module) -> None:
        self.adapter, self.name = adapter, name
        # Before other hooks, which read what the layer gives to the next one.
        layer.register_forward_hook(self._change, prepend=True)

    def _change(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return self.adapter(output, part=self.name)


def layer_sites(adapter: LayerVectors, block: nn.Module, family: BlockFamily) -> None:
    """Tie an adapter to the layers of a block that it changes."""
    for name in adapter.layers_of(block):
        LayerSite(adapter, name, block.get_submodule(name))


def layer_outputs(adapter: LayerVectors, block: nn.Module, family: BlockFamily) -> dict[str, Any]:
    """Return the arguments of an adapter on the layers of a block.

    Raises:
        ValueError: The block has no such layer.
    """
    outputs = adapter.layers_of(block)
    if not outputs:
        raise ValueError(
            f'adapter type {type(adapter).__name__!r} is invalid for {type(block).__name__} of '
            f'{family.name}, which has no layer of its kind (linear layers and norms over the last '
            'axis): use ConvAdapter.'
        )
    return {'outputs': outputs}


def layer_names(adapter: LayerVectors, block: nn.Module, family: BlockFamily) -> list[str]:
    """Return the names of the layers for which hooks call an adapter."""
    return list(adapter.layers_of(block))
