"""Small models with the optimizer settings of configs that mmdet and mmseg ship."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from tiny_backbones import tiny_config
from torch import nn

import mmqadapter  # noqa: F401  (registers the wrappers)

Rates = dict[str, tuple[float, float]]
WRAPPERS: dict[str, dict[str, Any]] = {
    'adapters': dict(
        type='mmqadapter.AdaptedBackbone', adapter=dict(type='NormedAdaptFormer', width=4)
    ),
    'lora': dict(
        type='mmqadapter.AdaptedBackbone', adapter=dict(type='LoRA', rank=2, targets='qkv')
    ),
    'highway': dict(
        type='mmqadapter.HighwayBackbone',
        adapter=dict(type='ConvAdapter', width=4, scale='learned'),
        cell='JoinedCell',
        stem='ConvStem',
        downsample='low-rank',
        inpath_blocks=1,
    ),
}


class Peer(nn.Module):
    """A backbone, and parts by the names that configs of mmdet and mmseg list."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.language_model = nn.Linear(2, 2)
        self.neck = nn.Sequential(nn.Conv2d(2, 2, 1), nn.GroupNorm(1, 2))
        self.decode_head = nn.ModuleDict(
            dict(query_embed=nn.Embedding(2, 2), norm=nn.LayerNorm(2), cls=nn.Linear(2, 2))
        )


def peer(backbone: str, wrapper: dict | None = None) -> Peer:
    """A model with the tiny backbone of that name, bare or in a wrapper."""
    bare = tiny_config(backbone)
    return Peer(MODELS.build(bare if wrapper is None else dict(wrapper, backbone=bare)))


def shipped(package: str, name: str) -> dict:
    """``optim_wrapper`` of a config that a package ships, without its mixed precision."""
    folder = Path(importlib.import_module(package).__path__[0], '.mim', 'configs')
    cfg = Config.fromfile(folder / name).optim_wrapper.to_dict()
    cfg.pop('loss_scale', None)
    return {**cfg, 'type': 'OptimWrapper'}


def rates(model: nn.Module, optim_wrapper: dict) -> Rates:
    """Learning rate and decay of each parameter in the optimizer, by name."""
    groups = build_optim_wrapper(model, optim_wrapper).optimizer.param_groups
    by_id = {id(p): (g['lr'], g['weight_decay']) for g in groups for p in g['params']}
    assert len(by_id) == sum(len(group['params']) for group in groups)
    return {name: by_id[id(p)] for name, p in model.named_parameters() if id(p) in by_id}


def split(found: Rates) -> tuple[Rates, Rates]:
    """Rates of adapters, and of all else by the names in the bare model."""
    adapters = {name: rate for name, rate in found.items() if '.adapters.' in name}
    others = {n.replace('.trunk.', '.'): r for n, r in found.items() if n not in adapters}
    return adapters, others
