"""The model of a config without its pretrained weights: shapes are all that sizes depend on."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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

WIDTHS = ('width', 'rank')  # what adapters call the size of their bottleneck
FLOAT_BITS = 32
# Any width in bits makes a quantiser where the config has none.
QUANTIZER = dict(type='GaussianQuantizer', bits=8)


class BlankModel:
    """Builds the model of a config, and its backbone with other adapters, with random weights.

    Args:
        cfg: A config whose backbone has adapters.

    Attributes:
        width_name: What the config's adapter calls its width.
        width: Its width.

    Raises:
        ValueError: The config has no adapters, or they have no width.
    """

    def __init__(self, cfg: Config) -> None:
        require_model(cfg)
        own = cfg.model.get('backbone') or {}
        if not own.get('adapter'):
            raise ValueError(
                f'model.backbone.type={own.get("type")!r} has no adapters to plan; give the config '
                'of an AdaptedBackbone or a HighwayBackbone.'
            )
        init_default_scope(cfg.get('default_scope') or 'mmengine')
        self._cfg = plain_config(cfg, Settings(torch.device('cpu'), real_data=True))
        self._wrapper = {**own, 'backbone': self._cfg.model.backbone}
        adapter = full_config(own['adapter']) or {}
        known = [name for name in WIDTHS if name in adapter]
        if not known:
            raise ValueError(f'{adapter["type"]} has neither width nor rank: there is no choice.')
        self.width_name, self.width = known[0], int(adapter[known[0]])

    def model(self) -> nn.Module:
        """The whole model as the config has it; all that trains is random, so nothing is constant.

        A constant weight, such as one that starts at zero, cannot be quantised and takes more.
        """
        model = self._build({**self._cfg.model, 'backbone': self._wrapper})
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_()
        return model

    def backbone(self, width: int, quantized: bool) -> Any:
        """The wrapped backbone alone, its adapters of another width, quantised or float.

        Raises:
            ValueError: The adapter refuses the width, or the quantiser so small a matrix.
        """
        wrapper = copy.deepcopy(self._wrapper)
        wrapper['adapter'] = {**wrapper['adapter'], self.width_name: width}
        quantizer = {**QUANTIZER, **(wrapper.get('quantizer') or {}), 'bits': QUANTIZER['bits']}
        wrapper['quantizer'] = quantizer if quantized else None
        return self._build(wrapper)

    def dataset_meta(self) -> dict[str, list]:
        """Classes and palette that training writes into the task file."""
        dataset = (self._cfg.get('train_dataloader') or {}).get('dataset')
        if not dataset:
            return {}
        leaf, _ = next(leaf_configs(dataset))
        return dataset_meta(DATASETS.build(dict(leaf, lazy_init=True, pipeline=[])).metainfo)

    def _build(self, config: Any) -> nn.Module:
        with warnings_alone(), torch.random.fork_rng(devices=[]):
            return MODELS.build(config)


@contextmanager
def warnings_alone() -> Iterator[None]:
    """Leave out what mmengine tells of each net that is built."""
    logger = MMLogger.get_current_instance()
    with ExitStack() as after:
        after.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.WARNING)
        yield
