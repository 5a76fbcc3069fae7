"""Mixed precision of a training: on GPUs that of mmengine, on a CPU bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mmqadapter.registry import OPTIM_WRAPPERS

GPU_WRAPPER, CPU_WRAPPER = 'AmpOptimWrapper', 'mmqadapter.CpuAmpOptimWrapper'


@OPTIM_WRAPPERS.register_module()
class CpuAmpOptimWrapper(OptimWrapper):
    """Optimizer wrapper of mixed precision on a CPU: losses are computed under bfloat16 autocast.

    mmengine's ``AmpOptimWrapper`` is for GPUs only. bfloat16 has the range of float32, so the loss
    is not scaled. Arguments are those of mmengine's ``OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Compute under autocast, and accumulate gradients as ``OptimWrapper`` does."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def set_mixed_precision(cfg: Config) -> None:
    """Let ``cfg`` train in mixed precision, in the form that this machine has.

    Raises:
        ValueError: ``cfg`` has no optimizer wrapper.
    """
    wrapper = cfg.get('optim_wrapper')
    if not wrapper:
        raise ValueError('the config has no optim_wrapper, which mixed precision needs; add it.')
    if get_device() != 'cpu':
        wrapper.type = GPU_WRAPPER
        wrapper.setdefault('loss_scale', 'dynamic')
        return
    wrapper.type = CPU_WRAPPER
    for option in ('loss_scale', 'dtype'):
        wrapper.pop(option, None)


def check_precision(cfg: Config) -> None:
    """Check that the mixed precision of ``cfg`` exists for its model on this machine.

    Raises:
        ValueError: It is for GPUs and there is none, or for a CPU and there is a GPU, or the model
            is a detector on a CPU.
    """
    kind = str((cfg.get('optim_wrapper') or {}).get('type'))
    name, on_cpu = kind.rpartition('.')[2], get_device() == 'cpu'
    if name == GPU_WRAPPER and on_cpu:
        raise ValueError(
            f'optim_wrapper.type={kind!r} needs a GPU, and there is none: leave --amp out and set '
            f"type='OptimWrapper', or {CPU_WRAPPER!r}, without loss_scale."
        )
    if name == CpuAmpOptimWrapper.__name__ and not on_cpu:
        raise ValueError(
            f'optim_wrapper.type={kind!r} is for machines without a GPU; set {GPU_WRAPPER!r}.'
        )
    if name == CpuAmpOptimWrapper.__name__ and cfg.get('default_scope') == 'mmdet':
        raise ValueError(
            "mixed precision of a detector needs a GPU: mmcv's operators need float32 on a CPU. "
            "Leave --amp out and set optim_wrapper.type='OptimWrapper', or compute the trunk "
            "alone in bfloat16: model.backbone.trunk=dict(dtype='bfloat16')."
        )
