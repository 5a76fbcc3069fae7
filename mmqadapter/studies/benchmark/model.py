"""Models of the methods: one config, different backbones, equal random weights."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from mmqadapter.studies.benchmark.methods import Method
from mmqadapter.studies.report.settings import Settings

WRAPPED, PLAIN = 'backbone.trunk.', 'backbone.'  # prefixes of the trunk in state dicts
# Settings of a plain backbone that the method decides: `full` trains the whole backbone.
NEUTRAL = {'with_cp': False, 'frozen_stages': -1}


def plain_config(cfg: Config, settings: Settings) -> Config:
    """Return a copy of a config with a plain, fully trainable backbone and no weights to load.

    Args:
        cfg: Config of mmdet, mmseg or mmpretrain; its backbone may be in one of our wrappers.
        settings: Result of :meth:`.Settings.completed`; its image size is set in the preprocessor.

    Raises:
        ValueError: The model has no backbone.
    """
    cfg = copy.deepcopy(cfg)
    if not cfg.model.get('backbone'):
        raise ValueError(
            f'model.type={cfg.model.get("type")!r} is invalid: expected a detector, segmentor '
            'or classifier with a model.backbone to tune.'
        )
    net = cfg.model.backbone
    while 'backbone' in net:
        net = net.backbone
    for name in NEUTRAL.keys() & net.keys():
        net[name] = NEUTRAL[name]
    cfg.model.backbone = net
    for node in nodes(cfg.model):
        _remove_weights(node)
    preprocessor = cfg.model.get('data_preprocessor') or {}
    if preprocessor.get('size') and not settings.real_data:
        preprocessor['size'] = settings.image_size
    return cfg


def nodes(config: Any) -> Iterator[dict]:
    """Yield each dict in a config, at any depth."""
    if isinstance(config, dict):
        yield config
    children = list(config.values()) if isinstance(config, dict) else config
    if isinstance(children, (list, tuple)):
        for child in children:
            yield from nodes(child)


def _remove_weights(node: dict) -> None:
    """Keep weights random: neither memory nor time depends on them."""
    init_cfg = node.get('init_cfg')
    if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
        node['init_cfg'] = None
    node.pop('pretrained', None)
    if 'TimmBackbone' in str(node.get('type')):
        node.pop('checkpoint', None)


class ModelBuilder:
    """Builder of one model for each method, all with the weights of the plain model.

    Equal weights of trunk, neck and head make data-dependent work equal, such as the number of
    proposals. On the CPU the models share their frozen weights in memory.

    Args:
        cfg: Result of :func:`plain_config`.
        seed: Seed of the weights.
    """

    def __init__(self, cfg: Config, seed: int) -> None:
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        self._model, self._seed = cfg.model, seed
        plain: Any = self._build(cfg.model)
        with _quiet():
            plain.init_weights()
        self._weights: dict[str, Tensor] = plain.state_dict()

    @property
    def plain_bytes(self) -> int:
        """Bytes of the weights and buffers of the plain model."""
        return sum(tensor.nbytes for tensor in self._weights.values())

    def build(self, method: Method) -> nn.Module:
        """Return the model of a method, on the CPU.

        Raises:
            ValueError: The method does not fit this backbone.
        """
        config = copy.deepcopy(self._model)
        config.backbone = method.change(config.backbone)
        model = self._build(config)
        model.load_state_dict(self._weights, strict=False)
        self._share_frozen(model)
        return model

    def _share_frozen(self, model: nn.Module) -> None:
        frozen = ((name, p) for name, p in model.named_parameters() if not p.requires_grad)
        for name, parameter in frozen:
            weight = self._weights.get(name.replace(WRAPPED, PLAIN, 1), parameter.data)
            if (weight.shape, weight.dtype) == (parameter.shape, parameter.dtype):
                parameter.data = weight

    def _build(self, config: Any) -> nn.Module:
        torch.manual_seed(self._seed)
        return revert_sync_batchnorm(MODELS.build(config))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the log line that mmengine writes for each initialized tensor."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
