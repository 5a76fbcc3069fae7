"""All patches of mmengine, mmdet and mmseg: what each works around, and when it can go.

``import mmqadapter`` applies the patches of mmengine. Those that are context managers last for the
block that they enclose.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import torch
import torch.utils.checkpoint
from mmengine._strategy import FSDPStrategy
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import CheckpointLoader
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.checkpoints.safe_load import harmless, unsafe, weights_only
from mmqadapter.engine.task_loading import accept_task_files, refuse_task_file

TRUST = 'MMQADAPTER_TRUST_CHECKPOINTS'


def patch_mmengine() -> None:
    """Apply all patches of mmengine; a second call changes nothing."""
    find_configs_by_module()
    guard_checkpoint_loading()
    fix_fsdp_resume()
    accept_task_files()


def find_configs_by_module() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of any distribution that provides ``mmseg``.

    mmengine looks for a distribution called ``mmsegmentation``, but the maintained line is called
    ``onedl-mmsegmentation``. The name of the module finds both.

    Remove when mmengine finds a package's configs by the name of its module.
    """
    MODULE2PACKAGE['mmseg'] = 'mmseg'


def guard_checkpoint_loading() -> None:
    """Let mmengine load checkpoints without running code in them (resume, load_from, init_cfg).

    mmengine reads a file with ``weights_only=True``, but if that fails it warns and reads it again
    with ``weights_only=False``. With this patch such a file raises a ValueError, unless the
    environment variable MMQADAPTER_TRUST_CHECKPOINTS is 1.

    Remove when mmengine no longer falls back to ``weights_only=False``, and its own checkpoints
    (message hub, numpy scalars) load with ``weights_only=True``.
    """
    load = CheckpointLoader.load_checkpoint.__func__
    if hasattr(load, '__wrapped__'):
        return

    @functools.wraps(load)
    def guarded(cls: type, filename: str, *args: Any, **kwargs: Any) -> Any:
        refuse_task_file(filename)
        if os.environ.get(TRUST) == '1':
            return load(cls, filename, *args, **kwargs)
        try:
            with weights_only(), torch.serialization.safe_globals(harmless()):
                return load(cls, filename, *args, **kwargs)
        except UnpicklingError as error:
            raise unsafe(filename, error, f'{TRUST}=1') from error

    CheckpointLoader.load_checkpoint = classmethod(guarded)


def fix_fsdp_resume() -> None:
    """Let mmengine's ``FSDPStrategy`` restore the state of an optimizer when a run resumes.

    It passes the arguments of ``optim_state_dict_to_load`` by position, in the order of
    PyTorch 2.0; PyTorch 2.1 changed that order.

    Remove when ``FSDPStrategy.load_optim_state_dict`` passes them by keyword.
    """
    FSDPStrategy.load_optim_state_dict = _load_optim_state_dict


def _load_optim_state_dict(self: FSDPStrategy, state_dict: dict) -> None:
    """Load the whole state of an optimizer, by names; each process takes its shards of it."""
    shards = FullyShardedDataParallel.optim_state_dict_to_load(
        model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
    )
    self.optim_wrapper.load_state_dict(shards)


@contextmanager
def non_reentrant_checkpoints() -> Iterator[None]:
    """Let activation checkpointing in mmdet and mmseg be of the non-reentrant kind in this block.

    Their backbones call ``torch.utils.checkpoint.checkpoint`` without ``use_reentrant``, and
    PyTorch's default is the reentrant kind, which computes no gradients in a block none of whose
    inputs needs one.

    Remove when the backbones pass ``use_reentrant=False``, or PyTorch makes it the default.
    """
    stock = torch.utils.checkpoint.checkpoint
    torch.utils.checkpoint.checkpoint = functools.partial(stock, use_reentrant=False)
    try:
        yield
    finally:
        torch.utils.checkpoint.checkpoint = stock
