"""Distributed runs on machines without a GPU, for which mmengine assumes a GPU."""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed

# Command that starts several processes, for messages.
LAUNCH = 'torchrun --nproc_per_node=PROCESSES -m mmqadapter train CONFIG --launcher pytorch'
# mmengine's state_dict_cfg='full' without the offload to the CPU: PyTorch frees or overwrites what
# it offloads, and on a CPU that is the memory that the model still uses.
FULL_STATE_ON_CPU = dict(
    state_dict_type='FULL_STATE_DICT',
    state_dict_config=dict(type='FullStateDictConfig', rank0_only=True, offload_to_cpu=False),
    optim_state_dict_config=dict(
        type='FullOptimStateDictConfig', rank0_only=True, offload_to_cpu=False
    ),
)


def prepare_cpu(cfg: Config) -> None:
    """Set up ``cfg`` and this process for DDP over gloo, if a launcher runs without accelerator.

    mmengine's launchers select a CUDA device and its DDP wrapper asks for one; both fail without.
    Here the process group exists before the runner is built, and the wrapper gets no device ids.
    Nothing happens for a run of one process or with an accelerator.

    Args:
        cfg: Config of the run, changed in place. ``env_cfg.dist_cfg.timeout`` is in seconds.

    Raises:
        ValueError: The launcher is not torchrun, or the model has synchronized batch norm.
    """
    launcher = cfg.get('launcher') or 'none'
    if launcher == 'none' or get_device() != 'cpu':
        return
    if launcher != 'pytorch' or 'RANK' not in os.environ:
        raise ValueError(
            f'launcher={launcher!r} without a GPU needs processes that torchrun started: {LAUNCH}.'
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
    """Name the CPU in the config of a strategy; mmengine selects a GPU if it names no device."""
    sharded = 'FSDP' in str(strategy['type'])
    device = {'device_id': 'cpu'} if sharded else {'device_ids': None}
    strategy['model_wrapper'] = {**(strategy.get('model_wrapper') or {}), **device}
    if sharded:
        strategy['state_dict_cfg'] = FULL_STATE_ON_CPU


def _join_group(cfg: Config) -> None:
    """Join the processes that torchrun started, unless a process group exists already."""
    if is_distributed():
        return
    seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    # PyTorch 2.1 refuses timeout=None.
    limits: dict[str, Any] = {} if seconds is None else {'timeout': timedelta(seconds=seconds)}
    torch.distributed.init_process_group('gloo', **limits)
    atexit.register(_leave_group)


def _leave_group() -> None:
    """End gloo's threads; those that outlive the interpreter sometimes abort the process."""
    if is_distributed():
        # A thread of gloo may still drop the tensors of its last call. It holds the lock that the
        # end of the group takes and waits for the interpreter lock: let it finish first.
        time.sleep(0.1)
        torch.distributed.destroy_process_group()
        # A runner is a reference cycle, and its DDP model keeps the group and the threads.
        gc.collect()


def _refuse_sync_bn(cfg: Config) -> None:
    settings = [f'{path}.type' for path in _sync_bn_configs(cfg.model, 'model')]
    if cfg.get('sync_bn'):
        settings.append('sync_bn')
    if settings:
        raise ValueError(
            f'{", ".join(settings)}: synchronized batch norm needs a GPU, and there is none. Set '
            "norm_cfg type='BN' (statistics of each process) or 'GN', and sync_bn=None."
        )


def _sync_bn_configs(node: Any, path: str) -> Iterator[str]:
    """Yield the paths of the configs under ``node`` whose type, name or class, is a SyncBN."""
    if isinstance(node, dict):
        if 'SyncB' in str(node.get('type')):
            yield path
        children = list(node.items())
    else:
        children = list(enumerate(node)) if isinstance(node, (list, tuple)) else []
    for name, child in children:
        yield from _sync_bn_configs(child, f'{path}.{name}')
