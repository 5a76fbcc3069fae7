"""A segmentor as plain layers: float weights, images of one size in, logits out."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmqadapter.backbones.acceleration import LEGACY_ARGUMENTS
from mmqadapter.interop.config_tree import WRAPPERS, builds, map_configs
from mmqadapter.quant import materialize

# Options that compute the trunk faster, and rounded differently.
ACCELERATIONS = ('trunk', *LEGACY_ARGUMENTS)


class PlainSegmentor(nn.Module):
    """Segmentor whose stored weights are those that it computes with, without gradients.

    Args:
        model: A segmentor of mmseg, which is modified in place.

    Raises:
        ValueError: ``model`` is not a segmentor.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, 'encode_decode'):
            raise ValueError(
                f'{type(model).__name__} is invalid: expected a model that computes logits for '
                "every pixel, which are mmseg's segmentors (EncoderDecoder, "
                'CascadeEncoderDecoder). A detector with LoRA or a FrozenBackbone can be '
                'converted to a plain mmdet checkpoint with `mmqadapter task merge`, and then '
                'exported with other tools.'
            )
        fold_weights(model)
        self.model: Any = model.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits (B, classes, H, W), before any softmax, of normalized (B, 3, H, W)."""
        return self.model.encode_decode(image, [{'img_shape': tuple(image.shape[-2:])}])


@torch.no_grad()
def fold_weights(model: nn.Module) -> None:
    """Replace every quantizer in ``model`` by the values that it computes."""
    materialize(model)
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            parametrizations: Any = module.parametrizations
            for name in list(parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def stock_trunk(cfg: Config) -> Config:
    """Return a copy of ``cfg`` whose trunks compute in float32, with the original forward.

    The accelerated ones agree within rounding. A task fits a trunk of any dtype.
    """
    content = cfg.to_dict()
    content['model'] = map_configs(content['model'], _without_acceleration)
    return Config(content)


def _without_acceleration(config: dict[str, Any]) -> dict[str, Any]:
    if builds(config, WRAPPERS):
        return {name: value for name, value in config.items() if name not in ACCELERATIONS}
    return config
