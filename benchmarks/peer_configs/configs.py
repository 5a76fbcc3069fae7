"""Find the shipped configs, load them, and find the backbone of each."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS as ROOT_MODELS

from mmqadapter.backbones.families import FAMILIES, REFUSED
from mmqadapter.backbones.family import BlockFamily

PACKAGES = ('mmdet', 'mmseg')
BACKBONE_KEYS = ('backbone', 'image_encoder')
# By column of the table. A learned scale starts at 0, so the maps start as those of the bare net.
WRAPPERS: dict[str, dict[str, Any]] = {
    'in path': dict(
        type='mmqadapter.AdaptedBackbone',
        adapter=dict(type='AdaptFormer', width=16, scale='learned'),
        quantizer=dict(type='GaussianQuantizer', bits=1),
    ),
    'highway': dict(
        type='mmqadapter.HighwayBackbone',
        adapter=dict(type='ConvAdapter', width=16, scale='learned'),
        quantizer=dict(type='GaussianQuantizer', bits=1),
        taps='stream',
        cell='JoinedCell',
        saved_taps='half',
    ),
}
# What a wrapper may ask for when it refuses a net, by the words with which it asks.
OPTIONS: dict[str, dict[str, Any]] = {"downsample='low-rank'": dict(downsample='low-rank')}


def config_root(package: str) -> Path:
    """Return the folder of the configs that a package ships."""
    return Path(str(import_module(package).__file__)).parent / '.mim/configs'


def shipped_configs() -> list[str]:
    """Return the names of all shipped configs, such as ``'mmdet/swin/retinanet_swin-t.py'``."""
    names = []
    for package in PACKAGES:
        root = config_root(package)
        paths = (path.relative_to(root) for path in sorted(root.rglob('*.py')))
        names += [f'{package}/{path}' for path in paths if '_base_' not in path.parts]
    return names


def load(name: str) -> Config:
    """Load a shipped config without importing optional packages that it names."""
    package, _, path = name.partition('/')
    cfg = Config.fromfile(config_root(package) / path, import_custom_modules=False)
    if cfg.get('model') and cfg.get('data_preprocessor'):  # a runner does this
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    return cfg


def backbone_parent(model: Any) -> tuple[dict, str] | None:
    """Return the dict in a model config that holds the backbone, and its key there."""
    if not isinstance(model, dict):
        return None
    for key in BACKBONE_KEYS:
        if isinstance(model.get(key), dict):
            return model, key
    return next(filter(None, map(backbone_parent, model.values())), None)


def head_type(model: dict) -> str:
    """Return the type of the head of a model, or '-'."""
    for key in ('decode_head', 'roi_head', 'panoptic_head', 'mask_head', 'bbox_head', 'track_head'):
        head = model.get(key)
        head = head[-1] if isinstance(head, list) and head else head
        if isinstance(head, dict) and 'type' in head:
            return str(head['type'])
    return '-'


def find_row(package: str, backbone: dict) -> BlockFamily | None:
    """Return the row of our table for the class that a backbone config names, or None."""
    registry = import_module(f'{package}.registry').MODELS
    cls = registry.get(str(backbone.get('type')))
    names = {f'{c.__module__}.{c.__qualname__}' for c in getattr(cls, '__mro__', ())}
    if names.intersection(REFUSED):
        return None
    return next((family for family in FAMILIES if names.intersection(family.classes)), None)


def wrapped(model: Any, wrapper: str, option: str | None = None) -> Any:
    """Return a model config with its backbone in one of ``WRAPPERS``; nothing else changes.

    Args:
        model: The config.
        wrapper: A key of ``WRAPPERS``.
        option: A key of ``OPTIONS``, whose value is added to the wrapper.
    """
    model = Config({'model': model.to_dict()}).model  # a copy
    found = backbone_parent(model)
    assert found is not None
    parent, key = found
    more = OPTIONS[option] if option else {}
    parent[key] = ConfigDict(**WRAPPERS[wrapper], **more, backbone=parent[key])
    return model


def nodes(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Yield each dict in a config with its path of keys."""
    if isinstance(config, dict):
        yield path, config
        for key, child in list(config.items()):
            yield from nodes(child, (*path, str(key)))
    elif isinstance(config, (list, tuple)):
        for child in config:
            yield from nodes(child, path)


def build(model: Any) -> Any:
    """Build a model in the current scope; its constructor may change the config that it gets."""
    return ROOT_MODELS.build(Config({'model': model.to_dict()}).model)
