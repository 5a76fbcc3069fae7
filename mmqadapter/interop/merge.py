"""Merging of LoRA into the trunk, which gives a plain checkpoint and a plain config."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters import Adapter, LoRA
from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone
from mmqadapter.backbones.projections import find_projections
from mmqadapter.backbones.select import find_blocks
from mmqadapter.checkpoints.load import load_weights
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference.model import config_meta
from mmqadapter.interop.plain_config import needs_package, plain_config
from mmqadapter.quant import materialized_state_dict
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.tuned_backbone import tuned_backbone

MERGEABLE = 'LoRA (on q, k, v or qkv) can, and so can a FrozenBackbone, which has no adapters'
REMEDY = f'{MERGEABLE}; keep the task file and this package for the others'


def merge_checkpoint(
    config: str | os.PathLike,
    weights: str | os.PathLike,
    out: str | os.PathLike,
    cfg_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> tuple[Path, bool]:
    """Write a tuned model as a plain checkpoint, with a plain config beside it.

    ``out`` contains ``state_dict``, with the keys of the model without our wrapper, and the
    classes in ``meta``: only tensors and plain values, so ``weights_only=True`` can load it. The
    config has the same name with the suffix ``.py``. Both files are written atomically.

    Args:
        config: Config that the weights were trained with; the trunk's weights must be available.
        weights: Task file or checkpoint of this config.
        out: The ``.pth`` file to write.
        cfg_options: Settings to override in the config.
        trust: See :func:`mmqadapter.checkpoints.load.load_weights`.

    Returns:
        Path of the plain config, and whether it still needs this package (timm trunks do).

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The adapters cannot be merged, the weights do not fit, or ``out`` is not a
            ``.pth`` file or would put the plain config in the place of ``config``.
    """
    out = Path(out)
    plain_path = out.parent / f'{out.stem}.py'
    _check_names(Path(config), out, plain_path)
    cfg = load_config(config, cfg_options)
    model = build_model(cfg)
    _require_mergeable(model)
    meta = load_weights(model, weights, trust)
    checkpoint: dict[str, Any] = {'state_dict': merged_state(model), 'meta': {}}
    if classes := meta if meta.get('classes') else config_meta(cfg):
        checkpoint['meta'] = {'dataset_meta': classes}
    buffer, plain = io.BytesIO(), plain_config(cfg)
    torch.save(checkpoint, buffer)
    atomic_write(out, buffer.getvalue())
    atomic_write(plain_path, plain.pretty_text.encode())
    return plain_path, needs_package(plain)


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state of ``model`` without our wrapper, with LoRA merged into the trunk.

    Keys and shapes are those of the plain model: ``backbone.*`` without the level ``trunk``. The
    tensors are on the CPU; unchanged ones share memory with those of the model.

    Args:
        model: A detector or segmentor with a wrapped backbone, or the wrapped backbone alone.

    Raises:
        ValueError: The model has no wrapped backbone, or adapters that cannot be merged.
    """
    prefix, backbone = _require_mergeable(model)
    merged = {f'{prefix}{name}': tensor for name, tensor in _merged_weights(backbone).items()}
    state = {}
    for name, tensor in materialized_state_dict(model).items():
        if not name.startswith(f'{prefix}adapters.'):
            plain = _plain_name(name, prefix)
            state[plain] = merged.get(plain, tensor).detach().cpu().contiguous()
    return state


@torch.no_grad()
def _merged_weights(backbone: FrozenBackbone) -> dict[str, Tensor]:
    """Return the weights (n C, C) of projections with LoRA merged in, by their trunk names."""
    family, merged = backbone.family, {}
    for name, block in find_blocks(backbone.trunk, family).items():
        key = name.replace('.', '_')
        if key not in backbone.adapters:
            continue
        lora = backbone.adapters.get_submodule(f'{key}.qkv')
        assert isinstance(lora, LoRA)
        for projection in find_projections(block, family):
            weight = lora.merge(projection.weight, projection.part)
            merged[f'{name}.{projection.name}.{projection.parameter}'] = weight
    return merged


def _plain_name(name: str, prefix: str) -> str:
    inner = name.removeprefix(f'{prefix}trunk.')
    return name if inner == name else f'{prefix}{inner}'


def _require_mergeable(model: nn.Module) -> tuple[str, FrozenBackbone]:
    """Return the prefix of the wrapped backbone's keys, and the backbone."""
    backbone = tuned_backbone(model)
    if not isinstance(backbone, FrozenBackbone):
        raise ValueError(
            f'{type(model).__name__} has no wrapped backbone, so it is a plain model already: '
            'use its checkpoint as it is.'
        )
    if kinds := _unmergeable(backbone):
        raise ValueError(
            f'{", ".join(kinds)} cannot be merged: only the linear change of a LoRA is added to '
            f'weights of the trunk. {REMEDY}.'
        )
    if type(backbone) not in (FrozenBackbone, AdaptedBackbone):
        raise ValueError(
            f'{type(backbone).__name__} cannot be merged, because its side stream is a network '
            f'beside the trunk and not a change of its weights. {REMEDY}.'
        )
    if backbone.trunk_options.torch_dtype != torch.float32:
        raise ValueError(
            f'trunk.dtype={backbone.trunk_options.dtype!r} cannot be merged, '
            'because the trunk would be saved rounded; merge with '
            '--cfg-options model.backbone.trunk.dtype=float32.'
        )
    name = next(name for name, module in model.named_modules() if module is backbone)
    return (f'{name}.' if name else ''), backbone


def _unmergeable(backbone: FrozenBackbone) -> list[str]:
    """Return the class names of in-path adapters other than LoRA."""
    adapters = [m for m in backbone.adapters.modules() if isinstance(m, Adapter)]
    in_path = isinstance(backbone, AdaptedBackbone)
    return sorted({type(m).__name__ for m in adapters if in_path and not isinstance(m, LoRA)})


def _check_names(config: Path, out: Path, plain: Path) -> None:
    if out.suffix != '.pth':
        raise ValueError(
            f'out={str(out)!r} is invalid: it must end in .pth; the plain config is written '
            'beside it as .py.'
        )
    if plain.resolve() == config.resolve():
        raise ValueError(
            f'the plain config would replace {str(config)!r}; give --out another name or folder.'
        )
