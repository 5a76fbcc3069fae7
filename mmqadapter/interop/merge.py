"""LoRA merged into the trunk: a plain checkpoint and a plain config."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmqadapter.adapters import Adapter, LoRA
from mmqadapter.backbones import AdaptedBackbone, FrozenBackbone
from mmqadapter.backbones.select import find_blocks
from mmqadapter.checkpoints.load import load_weights
from mmqadapter.engine.runner import build_model, load_config
from mmqadapter.inference.model import config_meta
from mmqadapter.interop.plain_config import needs_package, plain_config
from mmqadapter.quant import materialized_state_dict
from mmqadapter.utils.atomic import atomic_write
from mmqadapter.utils.tuned_backbone import tuned_backbone

CAN = 'LoRA (on q, k, v or qkv) can, and so can a FrozenBackbone, which has no adapters'


def merge_checkpoint(
    config: str | os.PathLike,
    weights: str | os.PathLike,
    out: str | os.PathLike,
    cfg_options: dict[str, Any] | None = None,
    trust: bool = False,
) -> tuple[Path, bool]:
    """Write a tuned model as a plain checkpoint, and its plain config beside it.

    ``out`` has ``state_dict`` with the keys of the model without our wrapper, and the classes in
    ``meta``; tensors and plain values alone (``weights_only=True`` reads it). The config has the
    same name with ``.py``. Both are written atomically.

    Args:
        config: The config that the weights were trained with; its trunk must be at hand.
        weights: A task file or a checkpoint of it.
        out: The ``.pth`` to write.
        cfg_options: Settings to override in the config.
        trust: See :func:`mmqadapter.checkpoints.load.load_weights`.

    Returns:
        Path of the plain config, and whether it still needs this package (trunks of timm do).

    Raises:
        FileNotFoundError: A file that does not exist.
        ValueError: Adapters that cannot merge, weights that do not fit, or a name for ``out``
            that is no ``.pth`` or lies beside ``config`` under its name.
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
    """State of ``model`` without our wrapper, its LoRA merged into the trunk's projections.

    Keys and shapes are those of the plain model: ``backbone.*`` without the level ``trunk``. The
    tensors are on the CPU; those that do not change share memory with the model's.

    Args:
        model: A detector or segmentor with a wrapped backbone, or that backbone alone.

    Raises:
        ValueError: No wrapped backbone, or adapters that cannot merge.
    """
    prefix, backbone = _require_mergeable(model)
    changed = {f'{prefix}{name}': tensor for name, tensor in _merged_weights(backbone).items()}
    state = {}
    for name, tensor in materialized_state_dict(model).items():
        if not name.startswith(f'{prefix}adapters.'):
            plain = _plain_name(name, prefix)
            state[plain] = changed.get(plain, tensor).detach().cpu().contiguous()
    return state


@torch.no_grad()
def _merged_weights(backbone: FrozenBackbone) -> dict[str, Tensor]:
    """Changed weights (3 C, C) by their names in the trunk."""
    family, merged = backbone.family, {}
    for name, block in find_blocks(backbone.trunk, family).items():
        key = name.replace('.', '_')
        if key not in backbone.adapters:
            continue
        lora = backbone.adapters.get_submodule(f'{key}.qkv')
        assert isinstance(lora, LoRA)
        layer: Any = block.get_submodule(family.qkv)
        packed = isinstance(layer, nn.MultiheadAttention)
        weight = layer.in_proj_weight if packed else layer.weight
        parameter = 'in_proj_weight' if packed else 'weight'
        merged[f'{name}.{family.qkv}.{parameter}'] = lora.merge(weight)
    return merged


def _plain_name(name: str, prefix: str) -> str:
    inner = name.removeprefix(f'{prefix}trunk.')
    return name if inner == name else f'{prefix}{inner}'


def _require_mergeable(model: nn.Module) -> tuple[str, FrozenBackbone]:
    """Prefix of the wrapped backbone's keys, and the backbone."""
    backbone = tuned_backbone(model)
    if not isinstance(backbone, FrozenBackbone):
        raise ValueError(
            f'{type(model).__name__} has no wrapped backbone: it is plain already, use its '
            'checkpoint as it is.'
        )
    if others := _unmergeable(backbone):
        raise ValueError(
            f'{", ".join(others)} cannot merge into the trunk: a weight takes up a linear change '
            f'of itself alone. {CAN}; keep the task file and this package for the others.'
        )
    if type(backbone) not in (FrozenBackbone, AdaptedBackbone):
        raise ValueError(
            f'{type(backbone).__name__} cannot merge: its side stream is a net beside the trunk, '
            f'no change of it. {CAN}; keep the task file and this package for the others.'
        )
    if backbone.trunk_options.torch_dtype != torch.float32:
        raise ValueError(
            f'trunk.dtype={backbone.trunk_options.dtype!r} is invalid here: the trunk would '
            'leave rounded; merge with --cfg-options model.backbone.trunk.dtype=float32.'
        )
    name = next(name for name, module in model.named_modules() if module is backbone)
    return (f'{name}.' if name else ''), backbone


def _unmergeable(backbone: FrozenBackbone) -> list[str]:
    """Kinds of adapters in the trunk's path other than LoRA."""
    adapters = [m for m in backbone.adapters.modules() if isinstance(m, Adapter)]
    in_path = isinstance(backbone, AdaptedBackbone)
    return sorted({type(m).__name__ for m in adapters if in_path and not isinstance(m, LoRA)})


def _check_names(config: Path, out: Path, plain: Path) -> None:
    if out.suffix != '.pth':
        raise ValueError(f'{str(out)!r} must end in .pth; the plain config goes beside it as .py.')
    if plain.resolve() == config.resolve():
        raise ValueError(
            f'the plain config would replace {str(config)!r}; give --out another name or folder.'
        )
