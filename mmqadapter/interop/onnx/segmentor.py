"""A segmentor as plain layers: float weights, images of one size in, logits out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.backbones.acceleration import LEGACY_ARGUMENTS
from mmqadapter.quant import materialize

WRAPPERS = ('FrozenBackbone', 'AdaptedBackbone', 'HighwayBackbone')
FASTER = ('trunk', *LEGACY_ARGUMENTS)


class PlainSegmentor(nn.Module):
    """A segmentor whose weights are what it computes with, without gradients.

    Args:
        model: A segmentor of mmseg; it is changed.

    Raises:
        ValueError: It is none.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, 'encode_decode'):
            raise ValueError(
                f'{type(model).__name__} gives no logits for every pixel: export-onnx takes '
                "mmseg's segmentors (EncoderDecoder, CascadeEncoderDecoder). For a detector with "
                'LoRA or a FrozenBackbone `tools/task.py merge` gives a plain mmdet checkpoint, '
                'which other exporters take.'
            )
        fold_weights(model)
        self.model: Any = model.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to logits (B, classes, H, W), before any softmax."""
        return self.model.encode_decode(image, [{'img_shape': tuple(image.shape[-2:])}])


@torch.no_grad()
def fold_weights(model: nn.Module) -> None:
    """Put the values that quantisers give in the place of the quantisers, all over ``model``."""
    materialize(model)
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            chains: Any = module.parametrizations
            for name in list(chains):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def stock_trunk(cfg: Config) -> Config:
    """A copy of ``cfg`` whose trunks compute as the stock nets do, in float32.

    Faster ways give the same within rounding. A task fits a trunk whatever its dtype is.
    """
    content = cfg.to_dict()
    content['model'] = _stock(content['model'])
    return Config(content)


def _stock(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_stock(item) for item in value)
    if not isinstance(value, Mapping):
        return value
    changed = {name: _stock(item) for name, item in value.items()}
    if str(value.get('type')).rpartition('.')[2] in WRAPPERS:
        changed = {name: item for name, item in changed.items() if name not in FASTER}
    return changed
