"""Scaling of the learning rate with the batch size (``auto_scale_lr`` of mmengine)."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapperDict
from mmengine.runner import FlexibleRunner, Runner


def enable_lr_scaling(cfg: Config) -> None:
    """Enable ``auto_scale_lr`` of a config, in place, as ``--auto-scale-lr`` of mmdet does."""
    cfg.auto_scale_lr = {**(cfg.get('auto_scale_lr') or {}), 'enable': True}


def check_lr_scaling(cfg: Config) -> None:
    """Check that a config that scales its learning rate says for which batch the rate is.

    Raises:
        ValueError: ``auto_scale_lr.base_batch_size`` is missing or not a positive number.
    """
    settings = cfg.get('auto_scale_lr') or {}
    base = settings.get('base_batch_size')
    if settings.get('enable') and (not isinstance(base, int) or base < 1):
        raise ValueError(
            f'auto_scale_lr.base_batch_size={base!r} is invalid: expected the batch, over all '
            'GPUs, that the learning rate of the config is for; set '
            'auto_scale_lr=dict(base_batch_size=16) in the config, or --cfg-options '
            'auto_scale_lr.base_batch_size=16.'
        )


def scale_base_rate(runner: Runner | FlexibleRunner) -> None:
    """Let a runner that scales its learning rates scale the base rate that it logs as well.

    mmengine scales the rates of the parameter groups, but logs ``base_lr`` from a group that holds
    no parameters, which it leaves out.

    Args:
        runner: Runner that has not trained yet; changed in place.
    """
    scale = getattr(runner, 'scale_lr', None)
    if scale is None:  # FlexibleRunner, whose strategy scales
        return

    def scale_all(optim_wrapper: Any, auto_scale_lr: dict | None = None) -> None:
        several = isinstance(optim_wrapper, OptimWrapperDict)
        wrappers = list(optim_wrapper.values()) if several else [optim_wrapper]
        before = [wrapper.optimizer.param_groups[0]['lr'] for wrapper in wrappers]
        scale(optim_wrapper, auto_scale_lr)
        for wrapper, rate in zip(wrappers, before, strict=True):
            base = getattr(wrapper, 'base_param_settings', None)
            if base is not None and rate:
                base['lr'] *= wrapper.optimizer.param_groups[0]['lr'] / rate

    runner.scale_lr = scale_all
