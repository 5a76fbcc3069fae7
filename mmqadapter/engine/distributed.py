"""Distributed runs on machines without a GPU: mmengine takes for granted that there is one."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed

# What mmengine's 'full' is, but for the move to the CPU, behind which PyTorch frees or overwrites
# what it moved: here that is the same memory.
FULL_STATE_ON_CPU = dict(
    state_dict_type='FULL_STATE_DICT',
    state_dict_config=dict(type='FullStateDictConfig', rank0_only=True, offload_to_cpu=False),
    optim_state_dict_config=dict(
        type='FullOptimStateDictConfig', rank0_only=True, offload_to_cpu=False
    ),
)


def prepare_cpu(cfg: Config) -> None:
    """Set ``cfg`` and this process up for DDP over gloo, where a launcher meets no accelerator.

    mmengine's launchers choose a CUDA device and its DDP wraps for one; both fail without. Here
    the process group exists before the runner is built, and the wrapper gets no device ids. Does
    nothing for a run of one process or with an accelerator.

    Args:
        cfg: Config of the run, changed in place; ``env_cfg.dist_cfg.timeout`` in seconds counts.

    Raises:
        ValueError: A launcher other than torchrun, or a model with synchronised batch norm.
    """
    launcher = cfg.get('launcher') or 'none'
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher != 'pytorch' or 'RANK' not in os.environ:
        raise ValueError(
            f'launcher={launcher!r} without a GPU needs processes that torchrun started: use '
            'tools/dist_train.sh CONFIG PROCESSES, which passes --launcher pytorch.'
        )
    _refuse_sync_bn(cfg)
    _join_group(cfg)
    wrapper = dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**(cfg.get('model_wrapper_cfg') or wrapper), 'device_ids': None}
    if cfg.get('strategy'):
        _keep_on_cpu(cfg.strategy)


def _keep_on_cpu(strategy: dict) -> None:
    """Change a strategy of mmengine, which takes a GPU where the config names nothing."""
    sharded = 'FSDP' in str(strategy['type'])
    device = {'device_id': 'cpu'} if sharded else {'device_ids': None}
    strategy['model_wrapper'] = {**(strategy.get('model_wrapper') or {}), **device}
    if sharded:
        strategy['state_dict_cfg'] = FULL_STATE_ON_CPU


def _join_group(cfg: Config) -> None:
    """Join the processes that torchrun started; a group that exists stays."""
    if is_distributed():
        return
    seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    limit = None if seconds is None else timedelta(seconds=seconds)
    torch.distributed.init_process_group('gloo', timeout=limit)
    atexit.register(_leave_group)


def _leave_group() -> None:
    """End gloo's threads: those that outlive the interpreter abort the process now and then."""
    if is_distributed():
        torch.distributed.destroy_process_group()
        gc.collect()  # a runner is a cycle, and its DDP model keeps the group and the threads


def _refuse_sync_bn(cfg: Config) -> None:
    places = [f'{place}.type' for place in _sync_bn(cfg.model, 'model')]
    if cfg.get('sync_bn'):
        places.append('sync_bn')
    if places:
        raise ValueError(
            f'{", ".join(places)}: synchronised batch norm needs GPUs, and here are none. Set '
            "norm_cfg type='BN' (statistics of each process) or 'GN', and sync_bn=None."
        )


def _sync_bn(node: Any, place: str) -> Iterator[str]:
    """Yield the places of the configs under ``node`` whose type, name or class, is a SyncBN."""
    if isinstance(node, dict):
        if 'SyncB' in str(node.get('type')):
            yield place
        children = list(node.items())
    else:
        children = list(enumerate(node)) if isinstance(node, (list, tuple)) else []
    for name, child in children:
        yield from _sync_bn(child, f'{place}.{name}')
