"""timm's ViT, DINOv2 and Swin as a backbone for dense heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from mmengine.model import BaseModule
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor

from mmqadapter.backbones.timm_net import TimmNet, build_timm, load_weight_file
from mmqadapter.registry import MODELS


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """Feature maps of a timm ViT, DINOv2 (registers, LayerScale) or Swin, for any image size.

    An image is padded with zeros at the bottom and right to whole patches, and position embeddings
    are resized to the grid. With patch p, ViT maps are (B, C, ceil(H/p), ceil(W/p)); a Swin halves
    that grid, rounding up, before stages 1 to 3.

    ``model`` is timm's net with timm's names (``model.blocks.0...``), run by timm's own
    ``forward_intermediates``. Its final norm is applied to every ViT map (as DINOv2 does for dense
    tasks) and to the last Swin stage (earlier stages have none); so the last map equals timm's
    ``forward_features``. The classification head and all that follows the last map are removed
    after loading, so no trainable parameter is left without a gradient.

    timm shifts no windows in a Swin stage whose grid at ``img_size`` fits one window; give the
    training crop as ``img_size=`` to have the last stage shifted as well.

    Args:
        model_name: A name timm knows, such as ``'vit_tiny_patch16_224'``.
        checkpoint: Local safetensors, npz (ViT) or ``.pth`` file; loaded once, here, strictly.
        out_indices: Blocks (ViT; default the last) or stages (Swin; default all), ascending;
            negative ones count from the end.
        pretrained: Load the weights that timm names for ``model_name`` instead of a file.
        init_cfg: Must be None; weights come from ``checkpoint`` or ``pretrained``.
        with_cp: Recompute block activations in the backward pass (non-re-entrant).
        **model_kwargs: Arguments of the timm class, such as ``drop_path_rate``.

    Attributes:
        pretrained_loaded: Whether weights were loaded; else they are random.
        num_prefix_tokens: Class and register tokens ahead of the grid tokens (0 for Swin).

    Raises:
        FileNotFoundError: ``checkpoint`` does not exist.
        ValueError: A wrong argument, or a file that cannot be read or does not fit.
    """

    def __init__(
        self,
        model_name: str,
        checkpoint: str | None = None,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        init_cfg: dict | None = None,
        with_cp: bool = False,
        **model_kwargs: Any,
    ) -> None:
        super().__init__()
        if init_cfg is not None or (checkpoint is not None and pretrained):
            raise ValueError(
                f'init_cfg={init_cfg}, checkpoint={checkpoint!r}, pretrained={pretrained}: give '
                'init_cfg=None and one of checkpoint=<file> and pretrained=True, not both.'
            )
        self.model = build_timm(model_name, pretrained, **model_kwargs)
        if checkpoint is not None:
            load_weight_file(self.model, checkpoint)
        self.pretrained_loaded = pretrained or checkpoint is not None
        self.out_indices = _resolve(out_indices, self.model)
        self.model.prune_intermediate_layers(list(self.out_indices), prune_head=True)
        self.model.set_grad_checkpointing(with_cp)
        self.num_prefix_tokens: int = getattr(self.model, 'num_prefix_tokens', 0)

    def init_weights(self) -> None:
        """Keep the weights: timm has initialised or loaded them when this object was built."""
        self.is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, 3, H, W) to one map (B, C, h, w) per entry of ``out_indices``."""
        maps = self.model.forward_intermediates(
            x, indices=list(self.out_indices), norm=True, intermediates_only=True
        )
        return tuple(cast('list[Tensor]', maps))


def _resolve(out_indices: Sequence[int] | None, model: TimmNet) -> tuple[int, ...]:
    """Absolute places of the maps among the net's blocks (ViT) or stages (Swin)."""
    swin = isinstance(model, SwinTransformer)
    count = len(model.feature_info)
    if out_indices is None:
        return tuple(range(count)) if swin else (count - 1,)
    try:
        places = tuple(range(count)[index] for index in out_indices)
    except (IndexError, TypeError):
        places = ()
    if not places or list(places) != sorted(set(places)):
        raise ValueError(
            f'out_indices={out_indices!r}: expected ascending numbers from 0 to {count - 1}, '
            f'the {"stages" if swin else "blocks"} of {type(model).__name__}.'
        )
    return places
