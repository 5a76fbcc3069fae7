"""Model of a config without pretrained weights: sizes depend on nothing but shapes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn

from mmqadapter.checkpoints.load import dataset_meta
from mmqadapter.engine.data_configs import leaf_configs
from mmqadapter.engine.runner import require_model
from mmqadapter.registry import full_config
from mmqadapter.studies.benchmark.model import plain_config
from mmqadapter.studies.report.settings import Settings

WIDTHS = ('width', 'rank')  # names of the bottleneck's size among the adapters' arguments
FLOAT_BITS = 32
# For configs without a quantizer; any number of bits will do.
QUANTIZER = dict(type='GaussianQuantizer', bits=8)


class BlankModel:
    """Builder of a config's model, and its backbone with other adapters, with random weights.

    Args:
        cfg: A config whose backbone has adapters.

    Attributes:
        width_name: Name of the argument for the width in the config's adapter.
        width: Width in the config.

    Raises:
        ValueError: The config has no adapters, or they have no width or rank.
    """

    def __init__(self, cfg: Config) -> None:
        require_model(cfg)
        wrapper = cfg.model.get('backbone') or {}
        if not wrapper.get('adapter'):
            raise ValueError(
                f'model.backbone.type={wrapper.get("type")!r} has no adapters to plan; give the '
                'config of an AdaptedBackbone or a HighwayBackbone.'
            )
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        self._cfg = plain_config(cfg, Settings(torch.device('cpu'), real_data=True))
        self._wrapper = {**wrapper, 'backbone': self._cfg.model.backbone}
        adapter = full_config(wrapper['adapter']) or {}
        names = [name for name in WIDTHS if name in adapter]
        if not names:
            raise ValueError(
                f'{adapter["type"]} has neither width nor rank, so there is nothing to plan; use '
                'an adapter with a bottleneck.'
            )
        self.width_name, self.width = names[0], int(adapter[names[0]])

    def model(self) -> nn.Module:
        """Build the whole model of the config, with random values in all trainable parameters.

        A constant weight, such as one initialized to zero, could not be quantized and would take
        more bytes.
        """
        model = self._build({**self._cfg.model, 'backbone': self._wrapper})
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_()
        return model

    def backbone(self, width: int, quantized: bool) -> Any:
        """Build the wrapped backbone alone, with adapters of another width, quantized or float.

        Raises:
            ValueError: The adapter refuses the width, or the quantizer such a small matrix.
        """
        wrapper = copy.deepcopy(self._wrapper)
        wrapper['adapter'] = {**wrapper['adapter'], self.width_name: width}
        quantizer = {**QUANTIZER, **(wrapper.get('quantizer') or {}), 'bits': QUANTIZER['bits']}
        wrapper['quantizer'] = quantizer if quantized else None
        return self._build(wrapper)

    def dataset_meta(self) -> dict[str, list]:
        """Return the classes and palette that training writes into the task file."""
        dataset = (self._cfg.get('train_dataloader') or {}).get('dataset')
        if not dataset:
            return {}
        leaf, _ = next(leaf_configs(dataset))
        return dataset_meta(DATASETS.build(dict(leaf, lazy_init=True, pipeline=[])).metainfo)

    def _build(self, config: Any) -> nn.Module:
        with only_warnings(), torch.random.fork_rng(devices=[]):
            return MODELS.build(config)


@contextmanager
def only_warnings() -> Iterator[None]:
    """Silence what mmengine logs for each built network below the level of warnings."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
