"""timm's nets as backbones for dense heads."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

from mmengine.model import BaseModule
from torch import Tensor

from mmqadapter.backbones.families import find_family
from mmqadapter.backbones.timm_net import build_timm, load_weight_file
from mmqadapter.backbones.weight_source import weight_file
from mmqadapter.registry import MODELS

OUT_TYPES = ('featmap', 'cls_token')


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """Backbone that returns feature maps of a timm net that the block table has a row for.

    These are ViTs (DINOv2 with registers and LayerScale, DINOv3, EVA-02, BEiT, SAM ...), Swin, PVT,
    ConvNeXt, ResNet, RegNet and others; see the docs page "Adding a backbone". A ViT or Swin pads
    an image with zeros at the bottom and right to whole patches, and resizes position embeddings to
    the grid. With patch size p, ViT maps are (B, C, ceil(H/p), ceil(W/p)); a Swin halves that grid,
    rounding up, before stages 1 to 3. Nets whose position embeddings or biases are for one grid,
    such as BEiT and PiT, take images of ``img_size`` alone.

    ``model`` is timm's net with timm's names (``model.blocks.0...``), run by timm's own
    ``forward_intermediates``. The final norm is applied to every ViT map (as DINOv2 does for dense
    tasks) and to the last stage of nets that have one, so that the last map equals timm's
    ``forward_features``; every map of SAM comes from its neck. The classification head and
    everything behind the last map are removed after loading, so that every parameter gets a
    gradient.

    timm does not shift windows in a Swin stage whose grid at ``img_size`` fits into one window.
    Give the training crop as ``img_size=`` to have the last stage shifted as well.

    Args:
        model_name: Name of a timm model, such as ``'vit_tiny_patch16_224'``.
        checkpoint: Local safetensors, npz (ViT) or ``.pth`` file; loaded here, once, strictly.
        out_indices: Blocks (of a net of one stage; default: the last) or stages (default: all)
            whose maps are returned, ascending; negative numbers count from the end. In ResNet,
            RegNet, MaxViT and CoAtNet, number 0 is the stem.
        pretrained: Load timm's own weights for ``model_name`` instead of a file. A file name, as
            parent models write it here, has the meaning of ``checkpoint``.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=<file>)``: as ``checkpoint``.
        with_cp: Recompute block activations in the backward pass (non-re-entrant).
        out_type: ``'featmap'``, or ``'cls_token'`` for the class token (B, C) in place of each map,
            as a linear classifier reads it.
        **model_kwargs: Arguments of the timm class, such as ``drop_path_rate``.

    Attributes:
        pretrained_loaded: Whether weights were loaded; otherwise they are random.
        num_prefix_tokens: Number of class and register tokens before the grid tokens; of nets of
            several stages only PiT has any.

    Raises:
        FileNotFoundError: ``checkpoint`` does not exist.
        ValueError: An invalid argument, or a file that cannot be read or does not fit.
    """

    def __init__(
        self,
        model_name: str,
        checkpoint: str | None = None,
        out_indices: Sequence[int] | None = None,
        pretrained: bool | str = False,
        init_cfg: dict | None = None,
        with_cp: bool = False,
        out_type: str = 'featmap',
        **model_kwargs: Any,
    ) -> None:
        super().__init__()
        file = weight_file(checkpoint, pretrained, init_cfg)
        self.pretrained_loaded = bool(pretrained) or file is not None
        self.model = build_timm(model_name, self.pretrained_loaded and file is None, **model_kwargs)
        if file is not None:
            # First without its head, whose weights a file may lack; with all of its outputs.
            outputs = list(range(len(self.model.feature_info)))
            names = set(self.model.state_dict())
            self.model.prune_intermediate_layers(outputs, prune_head=True)
            load_weight_file(self.model, file, names - set(self.model.state_dict()))
        self.out_indices = _resolve(out_indices, self.model)
        self.model.prune_intermediate_layers(list(self.out_indices), prune_head=True)
        _set_checkpointing(self.model, with_cp)
        family = find_family(self)
        self._norm = bool(family.output_norm or family.end_norm or family.neck)
        self.num_prefix_tokens = _count_prefix_tokens(self.model)
        self.out_type = out_type
        _check_out_type(out_type, model_name, self.model)

    def init_weights(self) -> None:
        """Keep the weights, which timm has initialized or loaded in ``__init__``."""
        self.is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, H, W) to one map (B, C, h, w) per entry of ``out_indices``.

        With ``out_type='cls_token'`` these are class tokens (B, C).
        """
        _clear_biases(self.model)
        options: dict[str, Any] = dict(norm=self._norm, intermediates_only=True)
        options.update(indices=list(self.out_indices))
        if self.out_type == 'cls_token':
            pairs = self.model.forward_intermediates(x, return_prefix_tokens=True, **options)
            return tuple(tokens[:, 0] for _, tokens in pairs)
        return tuple(cast('list[Tensor]', self.model.forward_intermediates(x, **options)))


def _check_out_type(out_type: str, model_name: str, model: Any) -> None:
    if out_type not in OUT_TYPES:
        raise ValueError(f'out_type={out_type!r} is invalid: expected one of {OUT_TYPES}.')
    if out_type != 'cls_token':
        return
    parameters = inspect.signature(model.forward_intermediates).parameters
    if getattr(model, 'cls_token', None) is None:
        reason = 'which has no class token'
    elif 'return_prefix_tokens' not in parameters:
        reason = 'whose class token timm does not return with its maps'
    else:
        return
    raise ValueError(
        f"out_type='cls_token' is invalid for {model_name!r}, {reason}: use 'featmap' with the "
        'neck GlobalAveragePooling.'
    )


def _count_prefix_tokens(model: Any) -> int:
    """Return the number of class and register tokens, by the name that PiT or a ViT has for it."""
    return getattr(model, 'num_prefix_tokens', getattr(model, 'num_tokens', 0))


def _clear_biases(model: Any) -> None:
    """Clear attention biases that timm caches in eval mode, the mode of a trunk that trains."""
    for module in model.modules():
        if hasattr(module, 'attention_bias_cache'):
            module.attention_bias_cache = {}


def _set_checkpointing(model: Any, with_cp: bool) -> None:
    try:
        model.set_grad_checkpointing(with_cp)
    except AssertionError as error:  # so timm says that a net cannot
        raise ValueError(
            f'with_cp={with_cp} is invalid: {type(model).__name__} of timm cannot recompute '
            'activations; leave it out.'
        ) from error


def _resolve(out_indices: Sequence[int] | None, model: Any) -> tuple[int, ...]:
    """Return the indices of the blocks (one stage) or stages (several), counted from the start."""
    count = len(model.feature_info)
    staged = len({info['num_chs'] for info in model.feature_info}) > 1
    if out_indices is None:
        return tuple(range(count)) if staged else (count - 1,)
    try:
        indices = tuple(range(count)[index] for index in out_indices)
    except (IndexError, TypeError):
        indices = ()
    if not indices or list(indices) != sorted(set(indices)):
        raise ValueError(
            f'out_indices={out_indices!r} is invalid: expected ascending numbers from 0 to '
            f'{count - 1}, the {"stages" if staged else "blocks"} of {type(model).__name__}.'
        )
    return indices
