"""Every patch of mmengine, in one file, with what it waits for."""

from __future__ import annotations

import functools
import os
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine._strategy import FSDPStrategy
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.runner import CheckpointLoader
from torch.distributed.fsdp import FullyShardedDataParallel

from mmqadapter.checkpoints.safe_load import harmless, unsafe, weights_only

TRUST = 'MMQADAPTER_TRUST_CHECKPOINTS'


def patch_mmengine() -> None:
    """Apply all patches; a second call changes nothing."""
    find_configs_by_module()
    guard_mmengine()
    let_fsdp_resume()


def find_configs_by_module() -> None:
    """Let ``_base_ = 'mmseg::...'`` find the configs of whatever package provides ``mmseg``.

    mmengine asks for a distribution called ``mmsegmentation``, which the onedl line is not. The
    module's own name serves for both.
    """
    MODULE2PACKAGE['mmseg'] = 'mmseg'


def let_fsdp_resume() -> None:
    """Let mmengine's ``FSDPStrategy`` load the state of an optimiser.

    It gives PyTorch the arguments in the order of PyTorch 2.0, which has changed since.
    """
    FSDPStrategy.load_optim_state_dict = _load_optim_state_dict


def _load_optim_state_dict(self: FSDPStrategy, state_dict: dict) -> None:
    """Load the whole state of an optimiser, by names; each process takes its shards of it."""
    own = FullyShardedDataParallel.optim_state_dict_to_load(
        model=self.model, optim=self.optim_wrapper.optimizer, optim_state_dict=state_dict
    )
    self.optim_wrapper.load_state_dict(own)


def guard_mmengine() -> None:
    """Let mmengine read checkpoints as safely, whether resumed, loaded or pretrained.

    It would read a file that is not safe all the same, with a warning. Who trusts all files of a
    run sets the environment variable MMQADAPTER_TRUST_CHECKPOINTS to 1.
    """
    load = CheckpointLoader.load_checkpoint.__func__
    if hasattr(load, '__wrapped__'):
        return

    @functools.wraps(load)
    def guarded(cls: type, filename: str, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get(TRUST) == '1':
            return load(cls, filename, *args, **kwargs)
        try:
            with weights_only(), torch.serialization.safe_globals(harmless()):
                return load(cls, filename, *args, **kwargs)
        except UnpicklingError as error:
            raise unsafe(filename, error, f'{TRUST}=1') from error

    CheckpointLoader.load_checkpoint = classmethod(guarded)
